"""Builds bands.cu, for the GPU or for its emulation, and calls it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.needs import NotReadyError

HERE = Path(__file__).parent
_NVCC = ("nvcc", "-arch=native", "-Xcompiler", "-fPIC")
_EMULATION = ("g++", "-fPIC", "-Wall", "-Wextra", "-x", "c++", "-include", str(HERE / "emulated_warp.hpp"))


class Library:
    """`decode_bands` of bands.cu. Memory is given by address: of the device, or of the host where it is emulated."""

    def __init__(self, path: Path) -> None:
        self._launch: Any = ctypes.CDLL(str(path)).launch_decode_bands
        address, number = ctypes.c_void_p, ctypes.c_int
        self._launch.argtypes = [address, number, *[address] * 3, number, number, *[address] * 3]

    def launch(
        self,
        bands: int,
        count: int,
        rows: int,
        lengths: int,
        data: int,
        size: tuple[int, int],
        out: int,
        damaged: int,
        stream: int = 0,
    ) -> None:
        """Queue the decoding of `count` bands into `out`, (images, 3, *size) uint8, on a CUDA stream; `damaged`, uint32
        (images,), is set where an image's data makes no sense. Raises RuntimeError when CUDA does not take it."""
        error = self._launch(bands, count, rows, lengths, data, *size, out, damaged, stream)
        if error:
            raise RuntimeError(f"CUDA did not start the kernel: error {error}")


def build(folder: Path, *, emulated: bool = False) -> Library:
    """Raises NotReadyError, saying why, where there is no compiler or it fails."""
    command: Sequence[str] = _EMULATION if emulated else _NVCC
    if shutil.which(command[0]) is None:
        raise NotReadyError(f"{command[0]} is not installed: " + ("a C++ compiler" if emulated else "CUDA's compiler"))
    path = folder / ("emulated.so" if emulated else "bands.so")
    done = subprocess.run(
        [*command, "-std=c++17", "-O3", "-shared", str(HERE / "bands.cu"), "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][-5:]
        raise NotReadyError(f"{command[0]} could not build {HERE.name}/bands.cu: " + "\n".join(said))
    return Library(path)
