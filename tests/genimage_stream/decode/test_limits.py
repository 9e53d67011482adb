"""What a job refuses: arguments that do not fit, files that are not there, images that cost too much."""

from __future__ import annotations

import io
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs


def encoded(form: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB", seed: int = 0) -> bytes:
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def submit(source: Any = None, out: Any = None, **options: Any) -> list[Any]:
    source = [encoded()] if source is None else source
    out = np.zeros((1, 3, 8, 8), np.uint8) if out is None else out
    return gs.decode_batch(source, out, **{"crops": [(0, 0)], "threads": 1, **options})


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"out": np.zeros((1, 3, 8, 8), np.int16)}, TypeError, "uint8, float16 or float32, not int16"),
        ({"out": np.zeros((1, 8, 8, 3), np.uint8)}, ValueError, r"shape \(n, 3, height, width\)"),
        ({"out": np.zeros((3, 8, 8), np.uint8)}, ValueError, "shape"),
        ({"out": np.zeros((1, 3, 8, 16), np.uint8)[..., ::2]}, ValueError, "C-contiguous"),
        ({"out": np.zeros((2, 3, 8, 8), np.uint8)}, ValueError, "1 images and out has room for 2"),
        ({"out": np.zeros((1, 3, 8, 0), np.uint8)}, ValueError, "shape"),
        ({"out": np.zeros((1, 3, 1, 70000), np.uint8)}, ValueError, "larger than any image"),
        ({"out": np.frombuffer(bytes(192), np.uint8).reshape(1, 3, 8, 8)}, ValueError, "read-only"),
        ({"out": np.zeros((1, 3, 8, 8), ">f4")}, TypeError, "byte order"),
        ({"out": [[1]]}, TypeError, "NumPy array or a CPU tensor"),
        ({"crops": [(0, 0, 8, 8)]}, ValueError, "crops has the shape"),
        ({"crops": [(0.5, 0)]}, TypeError, "crops has the type float64"),
        ({"crops": [(2**40, 0)]}, ValueError, "int32 does not hold"),
        ({"flips": [256]}, ValueError, "uint8 does not hold"),
        ({"flips": [0, 1]}, ValueError, "flips has the shape"),
        ({"boxes": [(0, 0, 1)]}, ValueError, "boxes has the shape"),
        ({"small": "stretch"}, ValueError, "'tile', 'reflect', 'constant', 'resize'"),
        ({"resample": "lanczos"}, ValueError, "'bilinear', 'bicubic'"),
        ({"fill": (0, 0, 256)}, ValueError, "fill"),
        ({"fill": (1, 2, 3), "small": "reflect"}, ValueError, "fill=.* has no effect"),
        ({"dct_scale": True}, ValueError, "dct_scale=True has no effect"),
        ({"dct_scale": 1}, TypeError, "dct_scale=1 is not one of True, False"),
        ({"std": (0, 1, 1)}, ValueError, "std"),
        ({"mean": (0, 1)}, (TypeError, ValueError), "three"),
        ({"source": ["text"]}, TypeError, "bytes-like"),
        ({"threads": 0}, ValueError, "at least 1"),
    ],
)
def test_arguments(arguments: dict[str, Any], error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        submit(**arguments)


def test_nothing_to_do() -> None:
    out = np.zeros((0, 3, 8, 8), np.uint8)
    decoder = gs.BatchDecoder(1)
    job = decoder.submit([], out, crops=np.zeros((0, 2), np.int32))
    assert job.wait(1)
    assert job.errors() == []


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "array"])
def test_kinds_of_bytes(kind: str) -> None:
    data = encoded()
    given: Any = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}.get(kind)
    source = given(data) if given else np.frombuffer(data, np.uint8)
    out = np.zeros((1, 3, 48, 64), np.uint8)
    assert submit([source], out) == []
    np.testing.assert_array_equal(out[0].transpose(1, 2, 0), gs.decode(data))


def test_torch_and_dlpack() -> None:
    torch = pytest.importorskip("torch")
    data = encoded()
    for dtype in (torch.uint8, torch.float16, torch.float32):
        out = torch.zeros((1, 3, 48, 64), dtype=dtype)
        assert submit([data], out) == []
        want = torch.from_numpy(gs.decode(data).transpose(2, 0, 1).copy())
        assert torch.equal(out[0], want if dtype == torch.uint8 else (want.double() / 255).float().to(dtype))
    with pytest.raises(TypeError, match="bfloat16"):
        submit([data], torch.zeros((1, 3, 8, 8), dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="contiguous"):
        submit([data], torch.zeros((1, 3, 8, 8)).transpose(2, 3)[:, :, ::2])

    class Exchange:
        """Only the protocol."""

        def __init__(self, tensor: Any) -> None:
            self.tensor = tensor

        def __dlpack__(self, **options: Any) -> Any:
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.tensor.__dlpack_device__()

    shared = torch.zeros((1, 3, 48, 64), dtype=torch.uint8)
    assert submit([data], Exchange(shared)) == []
    assert torch.equal(shared[0], torch.from_numpy(gs.decode(data).transpose(2, 0, 1).copy()))


def test_limits_are_per_image() -> None:
    big, small = encoded(size=(100, 100)), encoded(size=(20, 20))
    out = np.zeros((2, 3, 20, 20), np.uint8)
    errors = gs.decode_batch([big, small], out, crops=[(0, 0)] * 2, limits=gs.Limits(max_pixels=5000))
    assert [(e.index, e.kind) for e in errors] == [(0, "decode")]
    assert "more than the limit of 5000" in errors[0].message
    assert out[1].any()
    errors = gs.decode_batch([big, small], out, crops=[(0, 0)] * 2, limits=gs.Limits(max_bytes=5000))
    assert [e.index for e in errors] == [0]
    assert "more than the limit of 5000" in errors[0].message


def test_files_that_fail(tmp_path: Path) -> None:
    data = encoded()
    good = tmp_path / "good.tar"
    good.write_bytes(data)
    files = gs.FileSet([good, tmp_path / "missing.tar", tmp_path])
    size = len(data)
    index = np.array([0, 1, 0, 2, 0, 5, 0, 0], np.int32)
    offset = np.array([0, 0, 10, 0, 0, 0, -1, 0])
    sizes = np.array([size, size, size, size, size, size, size, -5])
    out = np.full((8, 3, 8, 8), 3, np.uint8)
    errors = gs.decode_batch(gs.FileRanges(files, index, offset, sizes), out, crops=np.zeros((8, 2), np.int32))
    assert [(e.index, e.kind) for e in errors] == [(i, "io") for i in (1, 2, 3, 5, 6, 7)]
    messages = {e.index: e.message for e in errors}
    assert "missing.tar: cannot be opened: No such file" in messages[1]
    assert f"good.tar: it ends at byte {size}, but the sample reaches to byte {size + 10}" in messages[2]
    assert "is not a regular file" in messages[3]
    assert "no file number 5" in messages[5]
    for i in (0, 4):
        np.testing.assert_array_equal(out[i].transpose(1, 2, 0), gs.decode(data)[:8, :8])
    for i in (1, 2, 3, 5, 6, 7):
        assert not out[i].any()


def test_a_range_beyond_the_file_that_is_read_in_parts(tmp_path: Path) -> None:
    """The message speaks of the range, not of the part that was read first."""
    path = tmp_path / "short.tar"
    path.write_bytes(encoded())
    size = path.stat().st_size
    start, sizes = np.array([3, 0, 2**63 - 5]), np.array([1 << 30, 1 << 20, 500])
    ranges = gs.FileRanges(gs.FileSet([path]), np.zeros(3, np.int32), start, sizes)
    errors = gs.decode_batch(ranges, np.zeros((3, 3, 8, 8), np.uint8), crops=[(0, 0)] * 3)
    assert [e.kind for e in errors] == ["io"] * 3
    assert f"it ends at byte {size}, but the sample reaches to byte {(1 << 30) + 3};" in errors[0].message
    assert f"but the sample reaches to byte {1 << 20};" in errors[1].message
    assert "no file is so long" in errors[2].message


def test_a_size_beyond_the_limit_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"x")
    ranges = gs.FileRanges(gs.FileSet([path]), np.zeros(1, np.int32), np.zeros(1, np.int64), np.array([1 << 60]))
    (error,) = gs.decode_batch(ranges, np.zeros((1, 3, 8, 8), np.uint8), crops=[(0, 0)])
    assert "more than the limit" in error.message


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("max_open", [1, 3, None])
def test_descriptors_stay_bounded(tmp_path: Path, max_open: int | None) -> None:
    n = 60
    data = [encoded(seed=i) for i in range(n)]
    for i in range(n):
        (tmp_path / f"{i}.bin").write_bytes(data[i])
    files = gs.FileSet([tmp_path / f"{i}.bin" for i in range(n)], max_open=max_open)
    before = open_descriptors()
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(n), 4)).astype(np.int32)
    ranges = gs.FileRanges(files, order, np.zeros(4 * n, np.int64), np.array([len(data[i]) for i in order]))
    out = np.zeros((4 * n, 3, 48, 64), np.uint8)
    with gs.BatchDecoder(4) as decoder:
        for _ in range(3):
            assert decoder.decode_batch(ranges, out, crops=np.zeros((4 * n, 2), np.int32)) == []
    assert open_descriptors() - before <= files.max_open
    for k, i in enumerate(order):
        np.testing.assert_array_equal(out[k].transpose(1, 2, 0), gs.decode(data[i]))
    del files, ranges, decoder
    assert open_descriptors() <= before + 1


def test_more_files_than_descriptors(tmp_path: Path) -> None:
    """With no room to raise the limit, the set stays within half of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    path = tmp_path / "a.bin"
    path.write_bytes(encoded())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        files = gs.FileSet([path] * 300)
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert files.max_open <= raised // 2 or files.max_open == 300
        assert raised <= hard or hard == resource.RLIM_INFINITY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("form", ["WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_formats_beside_jpeg_and_png(form: str) -> None:
    from PIL import features

    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data, png = encoded(form), encoded()
    want = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(gs.decode(data), want)
    np.testing.assert_array_equal(gs.decode(data, crop=(5, 6, 7, 8)), want[6:14, 5:12])
    with pytest.raises(IndexError):
        gs.decode(data, crop=(60, 0, 5, 5))
    facts = gs.inspect(data)
    assert (facts.format, facts.width, facts.height) == (form.lower(), 64, 48)
    assert gs.check(data) == facts
    out = np.zeros((3, 3, 30, 30), np.uint8)
    errors = gs.decode_batch([data, png, data[: len(data) // 2]], out, crops=[(3, 4)] * 3, flips=[1, 0, 0])
    np.testing.assert_array_equal(out[0].transpose(1, 2, 0), want[4:34, 3:33][:, ::-1])
    np.testing.assert_array_equal(out[1].transpose(1, 2, 0), gs.decode(png)[4:34, 3:33])
    if form != "GIF":  # whose decoder is content with less
        assert [e.index for e in errors] == [2]
        with pytest.raises(gs.DecodeError):
            gs.check(data[: len(data) // 2])
    with pytest.raises(gs.DecodeError, match="more than the limit"):
        gs.decode(data, limits=gs.Limits(max_pixels=1000))
    with pytest.raises(gs.DecodeError, match="more than the limit"):
        gs.decode(data, limits=gs.Limits(max_bytes=10))


@pytest.mark.parametrize(("mode", "form"), [("RGBA", "WEBP"), ("L", "TIFF"), ("CMYK", "TIFF"), ("RGBA", "TIFF")])
def test_modes_of_other_formats(mode: str, form: str) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (9, 8, 4) if len(mode) == 4 else (9, 8), dtype=np.uint8)
    file = io.BytesIO()
    image = Image.frombytes(mode, (8, 9), pixels.tobytes())
    image.save(file, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    want = pixels[..., :3] if mode == "RGBA" else np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(gs.decode(file.getvalue()), want)


def test_sixteen_bit_tiff_keeps_the_high_byte() -> None:
    pixels = np.random.default_rng(5).integers(0, 65536, (9, 8), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    want = np.repeat((pixels >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(gs.decode(file.getvalue()), want)
    assert gs.inspect(file.getvalue()).bit_depth == 16


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(gs.DecodeError, match=r"install genimage-stream\[pillow\]"):
        gs.decode(BMP)


BMP = encoded("BMP")


def test_one_huge_image_does_not_hold_its_memory() -> None:
    """A thread gives back what an uncommonly large image needed."""
    import subprocess
    import sys

    script = """
import io
import numpy as np
from PIL import Image
import genimage_stream as gs

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

files = []
for form in ("PNG", "JPEG"):
    file = io.BytesIO()
    Image.new("L", (7000, 7000), 128).save(file, form)
    files.append(file.getvalue())
small = io.BytesIO()
Image.new("RGB", (64, 64)).save(small, "PNG")
decoder = gs.BatchDecoder(1)
out = np.zeros((3, 3, 224, 224), np.uint8)
before = resident_mb()
for _ in range(2):
    errors = decoder.decode_batch([*files, small.getvalue()], out, crops=np.zeros((3, 2), np.int32), small="resize",
                                  resized=np.full((3, 2), 256, np.int32))
    assert not errors, errors
    for data in files:
        gs.check(data)
print(resident_mb() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert float(done.stdout) < 60
