"""The GPU kernels, emulated: the crops of `gs.decode`, bit for bit; what they leave to the CPU; damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genimage_stream as gs
from experiments.gpu_decode.jpeg_plan import JpegPlan, plan_jpegs
from experiments.gpu_decode.library import HERE, SOURCES, Jpegs, Pngs, build
from experiments.gpu_decode.measure import measure
from experiments.gpu_decode.plan import Window
from experiments.gpu_decode.png_plan import PngPlan, plan_pngs
from genimage_stream.decode.crop_ready import recode
from tests.fixtures.genimage import fake_png, make_files, pixels, write
from tests.fixtures.jpegs import jpeg, jpeg_of_mode
from tests.fixtures.png import CHANNELS, GRAY, GRAY_ALPHA, RGB, RGBA, chunk, random_samples, write_png

WIDE = 800  # bytes of a row from 769 on: rows of PNGs are then listed one by one
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["upwards", "downwards"])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The lanes of a warp take turns in either direction: nothing may depend on it."""
    folder = tmp_path_factory.mktemp("kernels")
    options = ["-DEMULATED_DOWNWARDS"] if request.param == "downwards" else []
    return {source: build(folder, source, *options, emulated=True) for source in SOURCES}


def run(
    kernels: dict[str, Any], made: PngPlan | JpegPlan, images: int, size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    shape = images, 3, *size
    if isinstance(made, PngPlan):
        work: Pngs | Jpegs = Pngs(kernels["png_bands"], made, shape, CPU)
    else:
        work = Jpegs(kernels["jpeg_intervals"], made, shape, CPU)
    work.decode()
    return work.out.numpy(), work.damaged.numpy()


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


def assert_as_by_the_cpu(
    kernels: dict[str, Any],
    plan: Callable[[list[bytes], list[Window]], PngPlan | JpegPlan],
    file: bytes,
    whole: tuple[int, int],
    size: tuple[int, int],
    data: st.DataObject,
) -> None:
    """Two windows of `size` (height, width) of an image of `whole` (width, height)."""
    corners = st.tuples(st.integers(0, whole[0] - size[1]), st.integers(0, whole[1] - size[0]))
    drawn = [(data.draw(corners, "corner"), data.draw(st.booleans(), "mirrored")) for _ in range(2)]
    windows = [Window(*corner, size[1], size[0], mirrored) for corner, mirrored in drawn]
    made = plan([file, file], windows)
    assert not made.left
    out, damaged = run(kernels, made, 2, size)
    assert not damaged.any()
    for image, window in zip(out, windows, strict=True):
        assert np.array_equal(image, wanted(file, window))


@settings(max_examples=25)
@given(st.data())
def test_crops_of_pngs_are_those_of_the_cpu(kernels: dict[str, Any], data: st.DataObject) -> None:
    color = data.draw(st.sampled_from([GRAY, GRAY_ALPHA, RGB, RGBA]), "color")
    narrowest = WIDE // CHANNELS[color]
    width = data.draw(st.integers(narrowest, narrowest + 300), "width")
    height = data.draw(st.integers(70, 150), "height")
    tile = data.draw(st.sampled_from([0, 64, 100]), "tile")
    file = picture(width, height, color, data.draw(st.integers(0, 99)), tile_width=tile, band_rows=32)
    size = data.draw(st.integers(1, 60), "height of the window"), data.draw(st.integers(1, 90), "its width")
    assert_as_by_the_cpu(kernels, plan_pngs, file, (width, height), size, data)


def test_pngs_that_are_left_to_the_cpu(kernels: dict[str, Any]) -> None:
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
    made = plan_pngs([*files.values(), good], [Window(1, 2, 40, 50)] * (len(files) + 1))
    assert list(made.left) == list(range(len(files)))
    for why, said in zip(files, made.left.values(), strict=True):
        assert why in said
    out, damaged = run(kernels, made, len(files) + 1, (50, 40))
    assert not damaged.any()
    assert not out[:-1].any()
    assert np.array_equal(out[-1], wanted(good, Window(1, 2, 40, 50)))


def test_pngs_that_make_no_sense_are_marked(kernels: dict[str, Any]) -> None:
    """A forged file may have right checksums: neighbours are right, the kernel ends, the image is marked."""
    file = picture(300, 80, RGB, 1)
    window = Window(10, 0, 200, 70)
    made = plan_pngs([file, file], [window, window])
    made.bands["bits"][0] //= 2  # the band of the first image ends early
    out, damaged = run(kernels, made, 2, (70, 200))
    assert damaged.tolist() == [1, 0]
    assert np.array_equal(out[1], wanted(file, window))
    made = plan_pngs([file, file], [window, window])
    made.rows["filter"][0] = made.rows["bit"][0] = 8 * len(made.data) - 200  # far behind the band
    out, damaged = run(kernels, made, 2, (70, 200))
    assert damaged.tolist() == [1, 0]
    assert np.array_equal(out[1], wanted(file, window))


def test_checksums_of_the_table_of_bands_count() -> None:
    file = picture(300, 80, RGB, 1)
    at = file.index(b"gsBD")
    size = int.from_bytes(file[at - 4 : at], "big")
    body = bytearray(file[at + 4 : at + 4 + size])
    body[-6] ^= 1
    forged = file[: at - 4] + chunk(b"gsBD", bytes(body), zlib.crc32(b"gsBD" + body)) + file[at + 8 + size :]
    assert "unsound" in plan_pngs([forged], [Window(0, 0, 10, 10)]).left[0]


def crop_ready(file: bytes) -> bytes:
    data, why = recode(file)
    assert data is not None, why
    return data


@settings(max_examples=30)
@given(st.data())
def test_crops_of_jpegs_are_those_of_the_cpu(kernels: dict[str, Any], data: st.DataObject) -> None:
    width, height = data.draw(st.integers(20, 300), "width"), data.draw(st.integers(20, 200), "height")
    seed, quality = data.draw(st.integers(0, 99), "seed"), data.draw(st.integers(5, 100), "quality")
    sampling = data.draw(st.sampled_from(["444", "422", "420", "440", "gray", "progressive"]), "sampling")
    if sampling == "gray":
        original = jpeg_of_mode("L", width, height, seed=seed, quality=quality)
    elif sampling == "progressive":
        original = jpeg(width, height, seed=seed, quality=quality, progressive=True)
    else:
        original = jpeg(width, height, seed=seed, quality=quality, sampling=sampling)
    file = crop_ready(original)
    size = data.draw(st.integers(1, height), "height of the window"), data.draw(st.integers(1, width), "its width")
    assert_as_by_the_cpu(kernels, plan_jpegs, file, (width, height), size, data)


def test_jpegs_that_are_left_to_the_cpu(kernels: dict[str, Any]) -> None:
    good = crop_ready(jpeg(120, 90))
    files = {
        "no restart intervals": jpeg(120, 90),
        "not sequential": jpeg(120, 90, progressive=True),
        "another sampling": jpeg(120, 90, sampling="411", restart_interval=4),
        "restart interval": good.replace(b"\xff\xd1", b"\xff\xd4", 1),
        "colours that are not YCbCr": jpeg_of_mode("CMYK", 120, 90),
    }
    made = plan_jpegs([*files.values(), good], [Window(1, 2, 40, 50)] * (len(files) + 1))
    assert list(made.left) == list(range(len(files)))
    for why, said in zip(files, made.left.values(), strict=True):
        assert why in said
    out, damaged = run(kernels, made, len(files) + 1, (50, 40))
    assert not damaged.any()
    assert not out[:-1].any()
    assert np.array_equal(out[-1], wanted(good, Window(1, 2, 40, 50)))


@settings(max_examples=60)
@given(st.data())
def test_damaged_jpegs_are_marked_or_decoded_as_by_the_cpu(kernels: dict[str, Any], data: st.DataObject) -> None:
    file = crop_ready(jpeg(150, 70, quality=data.draw(st.sampled_from([20, 92]), "quality")))
    window = Window(0, 0, 150, 70)  # all of it: what the CPU judges is what the kernel sees
    begin = file.index(b"\xff\xda") + 14
    broken = bytearray(file)
    for _ in range(data.draw(st.integers(1, 3), "flips")):
        broken[data.draw(st.integers(begin, len(file) - 3), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    made = plan_jpegs([bytes(broken), file], [window, window])
    out, damaged = run(kernels, made, 2, (70, 150))
    assert not damaged[1]
    assert np.array_equal(out[1], wanted(file, window))
    if made.left or damaged[0]:
        return  # the CPU decodes it, or says what is wrong
    assert np.array_equal(out[0], wanted(bytes(broken), window))


def test_measure_runs_on_the_emulation(tmp_path: Path) -> None:
    files = make_files(generators=["sd14"], splits=["train"], count=3)  # reals of 60 x 45 at most
    large = [fake_png(np.random.default_rng(i), 300) for i in range(2)]
    write(tmp_path / "tree", [replace(one, data=large.pop() if large else one.data) for one in files])
    pack = [sys.executable, "-m", "shard_tools", "pack", str(tmp_path / "tree"), str(tmp_path / "shards")]
    subprocess.run([*pack, "--crop-ready"], check=True, capture_output=True)
    found = list(measure(tmp_path / "shards", "cpu", threads=2, crop=40, images=3, rounds=1, repeat=1))
    by_kind = {one.kind: one for one in found if not isinstance(one, str)}
    for kind in ("PNG 300", "JPEG"):
        one = by_kind.pop(kind)
        assert one.equal
        assert not one.left
        assert one.gpu > 0
        assert len(one.times) == 1
    assert by_kind  # PNGs too small for the kernel
    assert all(one.left == one.images for one in by_kind.values())


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_damaged_headers_are_left_or_decoded_as_by_the_cpu(kernels: dict[str, Any], kind: str) -> None:
    """Every byte before the coded data, one bit of it; one such file must not end the batch."""
    file = crop_ready(jpeg(40, 30)) if kind == "jpeg" else picture(WIDE // 3 + 1, 40, RGB, 1)
    end = file.index(b"\xff\xda") + 14 if kind == "jpeg" else file.index(b"IDAT")
    window = Window(1, 2, 20, 16)
    broken = [file[:at] + bytes([file[at] ^ 1 << at % 8]) + file[at + 1 :] for at in range(end)]
    make = plan_jpegs if kind == "jpeg" else plan_pngs
    made = make([*broken, file[:20], file[:60], file], [window] * (len(broken) + 3))
    out, damaged = run(kernels, made, len(broken) + 3, (16, 20))
    assert len(broken) + 2 not in made.left
    assert np.array_equal(out[-1], wanted(file, window))
    for i, data in enumerate(broken):
        if i not in made.left and not damaged[i]:
            assert np.array_equal(out[i], wanted(data, window)), i  # which the CPU then does not refuse


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="CUDA's compiler nvcc is not installed")
@pytest.mark.parametrize("source", SOURCES)
def test_compiles_for_gpus(tmp_path: Path, source: str) -> None:
    command = [
        "nvcc",
        "-std=c++17",
        "-arch=sm_90",
        "-Werror=all-warnings",
        "-cubin",
        str(HERE / f"{source}.cu"),
        "-o",
        "kernel.cubin",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
