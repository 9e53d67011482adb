"""Arguments of another kind than wanted: the error says which one, and what would do."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode import PartialBytes


def encoded(form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("crop", "error", "said"),
    [
        ((0.5, 0, 3, 3), TypeError, r"four whole numbers .* not \(0.5, 0, 3, 3\)"),
        ((0, 0, 3, 3, 3), ValueError, "four whole numbers"),
        ((0, 0, 3), ValueError, "four whole numbers"),
        (7, TypeError, "four whole numbers"),
        ((0, 0, 2**40, 3), IndexError, "not inside"),
        ((-(2**70), 0, 3, 3), IndexError, "not inside"),
        ((0, 0, 65, 3), IndexError, "not inside the image of 64x48"),
    ],
)
def test_crops(form: str, crop: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        gs.decode(encoded(form), crop=crop)
    if form == "JPEG":
        with pytest.raises(error, match=said.partition(" the image of")[0]):
            gs.crop_jpeg(encoded(form), crop)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_crops_of_whatever_counts(form: str) -> None:
    data = encoded(form)
    want = gs.decode(data)[6:14, 5:12]
    for crop in ((5, 6, 7, 8), [5, 6, 7, 8], np.array([5, 6, 7, 8]), tuple(np.array([5, 6, 7, 8], np.int64))):
        np.testing.assert_array_equal(gs.decode(data, crop=crop), want)


def test_limits() -> None:
    limits: Any = gs.Limits(max_pixels=np.int64(5000), max_bytes=np.uint32(7))  # type: ignore[arg-type]
    assert limits == gs.Limits(5000, 7)
    assert type(limits.max_pixels) is int
    for field in ("max_pixels", "max_bytes"):
        for wrong, error in (
            (1e9, TypeError),
            ("9", TypeError),
            (0, ValueError),
            (-1, ValueError),
            (2**63, ValueError),
        ):
            arguments: Any = {field: wrong}
            with pytest.raises(error, match=f"Limits.{field}="):
                gs.Limits(**arguments)


def test_limits_of_another_kind() -> None:
    data, wrong = encoded(), (1, 2)
    calls: list[Any] = [gs.decode, gs.inspect, gs.check, gs.make_crop_ready]
    for call in calls:
        with pytest.raises(TypeError, match=r"limits must be gs.Limits\(max_pixels"):
            call(data, limits=wrong)
    out = np.zeros((1, 3, 8, 8), np.uint8)
    with pytest.raises(TypeError, match="limits must be"):
        gs.decode_batch([data], out, crops=[(0, 0)], limits=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="limits must be"):
        gs.BatchDecoder(1, limits=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="limits must be"):
        gs.webdataset_handler(limits=wrong)  # type: ignore[arg-type]


def test_threads() -> None:
    assert gs.BatchDecoder(np.int64(2)).threads == 2  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"threads=2\.5: a whole number is needed"):
        gs.BatchDecoder(2.5)  # type: ignore[arg-type]
    for wrong in (0, 1 << 40):
        with pytest.raises(ValueError, match=r"threads=\d+: at"):
            gs.BatchDecoder(wrong)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fill": 0}, "fill must be three whole numbers from 0 to 255"),
        ({"fill": (0, 0)}, "fill must be three"),
        ({"fill": (0.5, 0.5, 0.5)}, r"fill must be three .* not \(0.5, 0.5, 0.5\)"),
        ({"fill": (0, -1, 0)}, "fill must be three"),
        ({"fill": (0, 0, 1)}, "fill=.* has no effect with small=.tile"),
        ({"mean": 0.5}, "mean must be three finite values, one per channel, not 0.5"),
        ({"std": "abc"}, "std must be three"),
        ({"std": (1, 1, float("nan"))}, "std must be three"),
    ],
)
def test_values_per_channel(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gs.decode_batch([encoded()], np.zeros((1, 3, 8, 8), np.float32), crops=[(0, 0)], **options)


@pytest.mark.parametrize("options", [{"mean": (0, 0, 0)}, {"std": (1, 1, 1)}])
def test_bytes_are_not_normalised(options: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        gs.decode_batch([encoded()], np.zeros((1, 3, 8, 8), np.uint8), crops=[(0, 0)], **options)


def test_fill_counts_as_numpy_does() -> None:
    out = np.zeros((1, 3, 50, 70), np.uint8)
    fill: Any = np.array([1, 2, 255], np.uint8)
    assert gs.decode_batch([encoded()], out, crops=[(0, 0)], small="constant", fill=fill) == []
    np.testing.assert_array_equal(out[0, :, 49, 69], [1, 2, 255])


def test_nothing_to_do_in_empty_lists() -> None:
    out = np.zeros((0, 3, 8, 8), np.uint8)
    assert gs.decode_batch([], out, crops=[]) == []
    assert gs.decode_batch([], out, crops=[], flips=[], boxes=[], resized=[]) == []
    with pytest.raises(ValueError, match="crops has the shape"):
        gs.decode_batch([encoded()], np.zeros((1, 3, 8, 8), np.uint8), crops=[])


@pytest.mark.parametrize("paths", ["p.png", b"p.png", Path("p.png")])
def test_one_path_is_no_list_of_paths(paths: Any) -> None:
    with pytest.raises(TypeError, match=r"gs.FileSet\(\["):
        gs.FileSet(paths)


@pytest.mark.parametrize("kind", ["str", "bytes", "path"])
def test_names_that_are_not_utf8(tmp_path: Path, kind: str) -> None:
    raw = [os.fsencode(tmp_path) + name for name in (b"/here\xff.png", b"/nowhere\xff.png")]
    try:
        with open(raw[0], "wb") as file:
            file.write(encoded())
    except OSError:
        pytest.skip("this file system wants UTF-8")
    given: list[Any] = {
        "str": [os.fsdecode(path) for path in raw],
        "bytes": raw,
        "path": [Path(os.fsdecode(path)) for path in raw],
    }[kind]
    files = gs.FileSet(given)
    assert [os.fsencode(files.path(i)) for i in range(2)] == raw
    size = len(encoded())
    out = np.zeros((2, 3, 8, 8), np.uint8)
    ranges = gs.FileRanges(files, np.array([0, 1], np.int32), np.zeros(2, np.int64), np.full(2, size))
    (error,) = gs.decode_batch(ranges, out, crops=[(0, 0)] * 2)
    assert (error.index, error.kind) == (1, "io")
    assert "/nowhere\\xff.png: cannot be opened" in error.message
    error.message.encode()
    np.testing.assert_array_equal(out[0].transpose(1, 2, 0), gs.decode(encoded())[:8, :8])
    with pytest.raises(IndexError, match="no file number 2"):
        files.path(2)


def test_errors_that_name_such_files() -> None:
    """A callable of one's own may fail with a message that UTF-8 does not hold."""

    def whole() -> bytes:
        raise OSError("cannot read \udcff.png")

    part = PartialBytes(1000, bytes(64), b"", 64, whole)
    (error,) = gs.decode_batch([part], np.zeros((1, 3, 8, 8), np.uint8), crops=[(0, 0)])
    assert (error.kind, error.message) == ("io", "cannot read \\udcff.png")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("normalize", "write mean= and std="),
        ("crop", "crops="),
        ("resize", "resized="),
        ("num_workers", "see its documentation"),
        ("fills", r"did you mean fill=\?|flip"),
    ],
)
def test_arguments_of_neighbours(name: str, said: str) -> None:
    out = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(TypeError, match=f"BatchDecoder.submit has no argument {name}=: .*{said}"):
        gs.decode_batch([encoded()], out, crops=[(0, 0)], **{name: "imagenet"})
    with pytest.raises(TypeError, match=r"BatchDecoder has no argument num_workers=: .*threads="):
        gs.BatchDecoder(num_workers=2)  # type: ignore[call-arg]
