"""The GPU kernel for PNGs, emulated: the crops of `gs.decode`, bit for bit; what it leaves to the CPU; damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genimage_stream as gs
from benchmarks.gpu.png import library
from benchmarks.gpu.png.measure import measure
from benchmarks.gpu.png.plan import Plan, Window, plan
from genimage_stream.decode.crop_ready import recode
from tests.fixtures.genimage import fake_png, make_files, pixels, write
from tests.fixtures.png import CHANNELS, GRAY, GRAY_ALPHA, RGB, RGBA, chunk, random_samples, write_png

WIDE = 800  # bytes of a row from 769 on: rows are then listed one by one


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> library.Library:
    return library.build(tmp_path_factory.mktemp("kernel"), emulated=True)


def run(kernel: library.Library, made: Plan, images: int, size: tuple[int, int]) -> tuple[Any, Any]:
    out, damaged = np.zeros((images, 3, *size), np.uint8), np.zeros(images, np.uint32)
    parts = [part.ctypes.data for part in (made.rows, made.lengths, made.data)]
    kernel.launch(made.bands.ctypes.data, len(made.bands), *parts, size, out.ctypes.data, damaged.ctypes.data)
    return out, damaged


def picture(width: int, height: int, color: int, seed: int, **shape: int) -> bytes:
    """Grainy waves, which are coded in literals as photographs are."""
    rgb = pixels(np.random.default_rng(seed), height, width)
    samples = np.concatenate([rgb, rgb], axis=2)[:, :, : CHANNELS[color]]
    data, why = recode(write_png(samples.astype(np.uint16), color, 8), **shape)
    assert data is not None, why
    return data


def wanted(file: bytes, window: Window) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(gs.decode(file, crop=window[:4])).transpose(2, 0, 1)
    return pixels[:, :, ::-1] if window.mirrored else pixels


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_crops_are_those_of_the_cpu(kernel: library.Library, data: st.DataObject) -> None:
    color = data.draw(st.sampled_from([GRAY, GRAY_ALPHA, RGB, RGBA]), "color")
    narrowest = WIDE // CHANNELS[color]
    width = data.draw(st.integers(narrowest, narrowest + 300), "width")
    height = data.draw(st.integers(70, 150), "height")
    tile = data.draw(st.sampled_from([0, 64, 100]), "tile")
    file = picture(width, height, color, data.draw(st.integers(0, 99)), tile_width=tile, band_rows=32)
    size = data.draw(st.integers(1, 60), "height of the window"), data.draw(st.integers(1, 90), "its width")
    windows = [
        Window(
            data.draw(st.integers(0, width - size[1])),
            data.draw(st.integers(0, height - size[0])),
            size[1],
            size[0],
            data.draw(st.booleans()),
        )
        for _ in range(2)
    ]
    made = plan([file, file], windows)
    assert not made.left
    out, damaged = run(kernel, made, 2, size)
    assert not damaged.any()
    for image, window in zip(out, windows, strict=True):
        assert np.array_equal(image, wanted(file, window))


def test_what_is_left_to_the_cpu(kernel: library.Library) -> None:
    plain = write_png(random_samples(np.random.default_rng(0), 80, 300, RGB, 8), RGB, 8)
    good = picture(300, 80, RGB, 1)
    band = good.index(b"IDAT") + 40
    broken = good[:band] + bytes([good[band] ^ 1]) + good[band + 1 :]
    deep, _ = recode(write_png(random_samples(np.random.default_rng(0), 80, 300, RGB, 16), RGB, 16))
    assert deep is not None
    files = {
        "not crop-ready": plain,
        "pixels that are no whole bytes": deep,
        "a damaged band": broken,
        "ends early": good[:-20],
        "bands of another form": picture(100, 80, RGB, 1),  # rows listed by twos or more
        "no PNG": b"JFIF",
    }
    made = plan([*files.values(), good], [Window(1, 2, 40, 50)] * (len(files) + 1))
    assert list(made.left) == list(range(len(files)))
    for why, said in zip(files, made.left.values(), strict=True):
        assert why in said
    out, damaged = run(kernel, made, len(files) + 1, (50, 40))
    assert not damaged.any()
    assert not out[:-1].any()
    assert np.array_equal(out[-1], wanted(good, Window(1, 2, 40, 50)))


def test_data_that_makes_no_sense_is_said(kernel: library.Library) -> None:
    """A forged file may have right checksums: neighbours are right, the kernel ends, the image is marked."""
    file = picture(300, 80, RGB, 1)
    window = Window(10, 0, 200, 70)
    made = plan([file, file], [window, window])
    made.bands["bits"][0] //= 2  # the band of the first image ends early
    out, damaged = run(kernel, made, 2, (70, 200))
    assert damaged.tolist() == [1, 0]
    assert np.array_equal(out[1], wanted(file, window))
    made = plan([file, file], [window, window])
    made.rows["filter"][0] = made.rows["bit"][0] = 8 * len(made.data) - 200  # zeros: some symbol, again and again
    assert len(run(kernel, made, 2, (70, 200))) == 2


def test_checksums_of_the_table_count() -> None:
    file = picture(300, 80, RGB, 1)
    at = file.index(b"gsBD")
    size = int.from_bytes(file[at - 4 : at], "big")
    body = bytearray(file[at + 4 : at + 4 + size])
    body[-6] ^= 1
    forged = file[: at - 4] + chunk(b"gsBD", bytes(body), zlib.crc32(b"gsBD" + body)) + file[at + 8 + size :]
    assert "unsound" in plan([forged], [Window(0, 0, 10, 10)]).left[0]


def test_measure_runs_on_the_emulation(tmp_path: Path) -> None:
    files = make_files(generators=["sd14"], splits=["train"], count=3)
    large = [fake_png(np.random.default_rng(i), 300) for i in range(2)]
    write(tmp_path / "tree", [replace(one, data=large.pop() if large else one.data) for one in files])
    pack = [sys.executable, "-m", "shard_tools", "pack", str(tmp_path / "tree"), str(tmp_path / "shards")]
    subprocess.run([*pack, "--crop-ready"], check=True, capture_output=True)
    found = measure(tmp_path / "shards", "cpu", threads=2, crop=48, images=3, rounds=1, repeat=1)
    sizes = {one.kind: one for one in found}
    assert sizes["PNG 300"].equal
    assert not sizes["PNG 300"].left
    assert sizes["PNG 300"].gpu > 0
    assert len(sizes["PNG 300"].times) == 1
    assert all(one.left == one.images for kind, one in sizes.items() if kind != "PNG 300")  # small ones


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="CUDA's compiler nvcc is not installed")
def test_compiles_for_gpus(tmp_path: Path) -> None:
    source = library.HERE / "bands.cu"
    command = ["nvcc", "-std=c++17", "-arch=sm_90", "-Werror=all-warnings", "-cubin", str(source), "-o", "kernel.cubin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
