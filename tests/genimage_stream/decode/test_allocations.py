"""In the steady state the decoder's threads allocate nothing: counted by an allocator put in front of the real one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNTER = Path(__file__).parents[3] / "fuzz" / "count_allocations.c"

SCRIPT = """
import ctypes, io, sys
import numpy as np
from PIL import Image
import genimage_stream as gs

allocations = ctypes.CDLL(None).gs_allocations
allocations.restype = ctypes.c_long
rng = np.random.default_rng(0)
images = []
for number in range(5):
    width, height = (int(v) for v in rng.integers(230, 500, 2))
    image = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)).resize((width, height))
    for form, options in (("PNG", {}), ("JPEG", {"quality": 90}), ("JPEG", {"progressive": True}),
                          ("JPEG", {"subsampling": 0, "restart_marker_rows": 1})):
        file = io.BytesIO()
        image.save(file, form, **options)
        images.append(file.getvalue())
    file = io.BytesIO()
    image.resize((100, 90)).quantize().save(file, "PNG")
    images.append(file.getvalue())
path = sys.argv[1]
offsets = np.cumsum([0] + [len(data) for data in images])
open(path, "wb").write(b"".join(images))
n = len(images)
ranges = gs.FileRanges(gs.FileSet([path]), np.zeros(n, np.int32), offsets[:-1], np.diff(offsets))
decoder = gs.BatchDecoder(1)
outs = [np.zeros((n, 3, 224, 224), dtype) for dtype in ("uint8", "float16", "float32")]
resized = np.full((n, 2), 256, np.int32)

def everything():
    for out in outs:
        for source in (images, ranges):
            for options in ({}, {"small": "reflect"}, {"resized": resized, "resample": "bicubic"}):
                errors = decoder.decode_batch(source, out, crops=np.zeros((n, 2), np.int32), **options)
                assert not errors, errors

everything()
warm = allocations()
assert warm > 0  # the counter counts
for _ in range(2):
    everything()
print(allocations() - warm)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the counting allocator")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the counting allocator wraps glibc's")
def test_no_allocation_in_the_steady_state(tmp_path: Path) -> None:
    library = tmp_path / "count_allocations.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", str(COUNTER), "-o", str(library)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "images.bin")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 0, f"{done.stdout.strip()} allocations in 2 rounds of 450 images"
