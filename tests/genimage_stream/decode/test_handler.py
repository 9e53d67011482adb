"""The decoder as a WebDataset handler, in real WebDataset pipelines."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs

wds = pytest.importorskip("webdataset")


def image_bytes(form: str, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def shard(path: Path, images: dict[str, bytes]) -> str:
    """`images`: "key.suffix" to bytes; every sample gets a label and a json."""
    with tarfile.open(path, "w") as tar:
        for name, data in images.items():
            key = name.partition(".")[0]
            for member, content in ((name, data), (f"{key}.cls", b"1"), (f"{key}.json", b'{"width": 30}')):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return str(path)


IMAGES = {
    "a.jpg": image_bytes("JPEG", 0),
    "b.png": image_bytes("PNG", 1),
    "c.JPEG": image_bytes("PNG", 2),  # decoded by its bytes
    "d.webp": image_bytes("WEBP", 3),
    "e.png": image_bytes("JPEG", 4),
}


@pytest.mark.parametrize("method", ["decode", "map"])
def test_images_labels_and_json(tmp_path: Path, method: str) -> None:
    url = shard(tmp_path / "s.tar", IMAGES)
    pipeline = wds.WebDataset(url, shardshuffle=False)
    samples = list(getattr(pipeline, method)(gs.webdataset_handler()))
    assert [s["__key__"] for s in samples] == ["a", "b", "c", "d", "e"]
    for sample, (name, data) in zip(samples, IMAGES.items(), strict=True):
        field = name.partition(".")[2].lower()
        np.testing.assert_array_equal(sample[field], gs.decode(data))
        assert (sample["cls"], sample["json"]) == (1, {"width": 30})


def test_torch_output(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    url = shard(tmp_path / "s.tar", {"a.png": IMAGES["b.png"]})
    (sample,) = wds.WebDataset(url, shardshuffle=False).decode(gs.webdataset_handler(output="torch"))
    assert sample["png"].dtype == torch.uint8
    assert sample["png"].is_contiguous()
    np.testing.assert_array_equal(sample["png"].numpy(), gs.decode(IMAGES["b.png"]).transpose(2, 0, 1))


def test_damage_names_the_sample(tmp_path: Path) -> None:
    url = shard(tmp_path / "s.tar", {"good.png": IMAGES["b.png"], "bad.jpg": IMAGES["a.jpg"][:200]})
    pipeline = wds.WebDataset(url, shardshuffle=False)
    with pytest.raises(gs.DecodeError, match=r"bad in .*s\.tar: \.jpg: truncated JPEG"):
        list(pipeline.map(gs.webdataset_handler()))
    with pytest.raises(wds.autodecode.DecodingError) as caught:
        list(pipeline.decode(gs.webdataset_handler()))
    assert caught.value.key == "bad"
    assert isinstance(caught.value.__cause__, gs.DecodeError)
    assert [s["__key__"] for s in pipeline.decode(gs.webdataset_handler(), handler=wds.ignore_and_continue)] == ["good"]


def test_other_fields_are_left_to_webdataset() -> None:
    handler: Any = gs.webdataset_handler()
    assert handler(".txt", b"words") is None
    assert handler({"__key__": "k", "txt": b"words", "cls": b"3"}) == {"__key__": "k", "txt": b"words", "cls": 3}
    with pytest.raises(gs.DecodeError, match=r"\.cls: invalid literal"):
        handler(".cls", b"three")


def test_travels_to_workers() -> None:
    handler = gs.webdataset_handler(strict=False)
    assert pickle.loads(pickle.dumps(handler)) == handler
    with pytest.raises(ValueError, match="'numpy', 'torch'"):
        gs.webdataset_handler(output="jax")  # type: ignore[arg-type]
