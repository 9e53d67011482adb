"""Blend2D's PNG decoder, from the static library in the wheel blend2d-python: its Python face reads files alone.

The wheel has no headers, so the few functions of its C interface are declared here. Pixels stay as Blend2D leaves them,
32 bits, blue first.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.environments import NotInstalledError, environment

REQUIREMENTS = ("blend2d-python==1.0.0",)
SHIM = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
typedef struct { uint64_t words[2]; } Core;
typedef struct { uint8_t* pixels; intptr_t stride; int32_t width, height; uint32_t format, flags; } Data;
extern uint32_t blImageInit(Core*);
extern uint32_t blImageDestroy(Core*);
extern uint32_t blImageReadFromData(Core*, const void*, size_t, const Core*);
extern uint32_t blImageGetData(const Core*, Data*);

/* Decodes; with `out`, copies width x height pixels of 4 bytes there. The result is an error of Blend2D, or 0. */
uint32_t decode(const void* data, size_t size, uint8_t* out, int32_t* width, int32_t* height) {
    Core image;
    Data found;
    uint32_t error = blImageInit(&image);
    if (!error) error = blImageReadFromData(&image, data, size, NULL);
    if (!error) error = blImageGetData(&image, &found);
    if (!error) {
        *width = found.width;
        *height = found.height;
        for (int32_t y = 0; out && y < found.height; ++y)
            memcpy(out + (size_t)y * found.width * 4, found.pixels + y * found.stride, (size_t)found.width * 4);
    }
    blImageDestroy(&image);
    return error;
}
"""


def library() -> Any:
    """The decoder as a library that is loaded, built if need be. Raises NotInstalledError."""
    home = Path(environment("benchmarks.blend2d")).parents[1]
    found = next(iter(home.glob("lib/python*/site-packages/blend2d/libblend2d.a")), None)
    if found is None:
        raise NotInstalledError("blend2d-python has no static library for this machine")
    built, source = home / "decode.so", home / "decode.c"
    if not built.exists():
        source.write_text(SHIM)
        command = ["c++", "-O2", "-shared", "-fPIC", "-x", "c", str(source), "-x", "none", str(found)]
        done = subprocess.run(
            [*command, "-o", str(built), "-lpthread", "-lrt"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotInstalledError(f"Blend2D cannot be linked: {done.stderr.strip().splitlines()[-1][:200]}")
    loaded = ctypes.CDLL(str(built))
    loaded.decode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, *[ctypes.c_void_p] * 3]
    return loaded


def decoder() -> Callable[[bytes], Any]:
    """Decodes a PNG into Blend2D's own memory; gives its width and height. Raises NotInstalledError."""
    run = library().decode
    width, height = ctypes.c_int32(), ctypes.c_int32()
    to_width, to_height = ctypes.byref(width), ctypes.byref(height)

    def decode(data: bytes) -> tuple[int, int]:
        if error := run(data, len(data), None, to_width, to_height):
            raise ValueError(f"Blend2D cannot decode it: error {error:#x}")
        return width.value, height.value

    return decode


def pixels(data: bytes) -> Any:
    """(h, w, 3) uint8 RGB, for comparing."""
    import numpy as np

    width, height = decoder()(data)
    found = np.empty((height, width, 4), np.uint8)
    size = ctypes.c_int32()
    library().decode(data, len(data), found.ctypes.data, ctypes.byref(size), ctypes.byref(size))
    return found[..., 2::-1]
