"""Receipts: the same receipt gives the same batches, and what was changed is found out."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.cli import app
from genimage_stream.loading.replay import loader_of
from tests.fixtures.shards import make_dataset, picture

OPTIONS: list[dict[str, Any]] = [
    {"crop": 20, "flip": True, "seed": 5},
    {"crop": (20, 24), "shuffle": False, "output": "float32", "normalize": "clip"},
    {"crop": 16, "shuffle": "shards", "window": 2, "small": "reflect", "drop_last": True},
    {"crop": 16, "mix": {"label": "equal", "class_index": {0: 2.0, 1: 1.0, 2: 1.0, 3: 1.0}}, "epoch_size": 30},
    {"transform": [T.RandomApply(T.JPEG((30, 90)), 0.5), T.RandomCrop(16, pad="tile")], "degrade": "blur:1"},
    {
        "transform": [T.CenterCrop(16)],
        "views": "five",
        "degrade": ["none", "jpeg:50"],
        "normalize": ((0.5,) * 3, (0.2,) * 3),
        "output": "float16",
    },
    {"transform": "univfd", "output": "float32"},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 5)


def replayed(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["replay", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_receipt_gives_the_same_batches(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    dataset = gs.open_dataset(root).select(splits=["train"])
    loader = gs.Loader(dataset, 7, **options)
    receipt = loader.receipt(epochs=3)
    text = json.dumps(receipt)
    assert len(text) < 4096
    again = loader_of(json.loads(text))
    for _ in range(2):
        for a, b in zip(loader, again, strict=True):
            assert a.keys == b.keys
            assert torch.equal(a.images, b.images)
    assert again.receipt(epochs=3) == receipt
    (tmp_path / "receipt.json").write_text(text)
    code, output = replayed(str(tmp_path / "receipt.json"), "--check")
    assert code == 0, output
    assert "the same samples, order and pixels" in output


def test_the_hash_is_of_what_comes(root: Path, tmp_path: Path) -> None:
    dataset = gs.open_dataset(root)
    hashes = {gs.Loader(dataset, 4, crop=16, **more).receipt()["hash"] for more in ({}, {"seed": 1}, {"flip": True})}
    hashes.add(gs.Loader(dataset, 5, crop=16).receipt()["hash"])
    hashes.add(gs.Loader(dataset.select(labels=["fake"]), 4, crop=16).receipt()["hash"])
    assert len(hashes) == 5
    # Not of where it is, how many threads decode it, or how far ahead.
    shutil.copytree(root, tmp_path / "elsewhere")
    other = gs.Loader(gs.open_dataset(tmp_path / "elsewhere"), 4, crop=16, threads=2, prefetch=1).receipt()
    assert other["hash"] == gs.Loader(dataset, 4, crop=16).receipt()["hash"]
    loader = gs.Loader(dataset, 30, crop=16)
    assert loader.receipt()["epochs"] == 1
    for _ in range(2):
        list(loader)
    assert loader.receipt()["epochs"] == 2


def test_a_selection_of_many_pieces(root: Path) -> None:
    dataset = gs.open_dataset(make_dataset(root.parent / "larger", 100)).sample(300, seed=1)
    loader = gs.Loader(dataset, 8, crop=16)
    receipt = json.loads(json.dumps(loader.receipt()))
    assert isinstance(receipt["selection"], str)
    assert (loader_of(receipt).dataset.index_rows == dataset.index_rows).all()


def test_what_does_not_fit_is_said(root: Path, tmp_path: Path) -> None:
    receipt = gs.Loader(gs.open_dataset(root), 4, crop=16).receipt()
    file = tmp_path / "receipt.json"

    def said(text: str, *more: str) -> tuple[int, str]:
        file.write_text(text)
        return replayed(str(file), "--check", *more)

    assert said("no JSON") == (
        2,
        f"genimage-stream: {file} is no JSON: give the file that loader.receipt() was written to\n",
    )
    code, output = said("[]")
    assert (code, "no receipt of a loader" in output) == (2, True)
    changed = {**receipt, "options": {**receipt["options"], "seed": 9}}
    code, output = said(json.dumps(changed))
    assert (code, "the receipt was changed" in output) == (2, True)
    other = make_dataset(tmp_path / "other", 4)
    code, output = said(json.dumps(receipt), "--data", str(other))
    assert (code, "does not hold the samples of the receipt" in output) == (2, True)
    code, output = said(json.dumps(receipt), "--data", str(tmp_path / "nowhere"))
    assert code == 2
    assert replayed(str(tmp_path / "nothing.json"))[0] == 2
    lambda_in_it = gs.Loader(gs.open_dataset(root), 4, transform=[T.CenterCrop(16), T.Map(lambda i, r: i, name="x")])
    code, output = said(json.dumps(lambda_in_it.receipt()))
    assert (code, "calls the Python function 'x'" in output) == (2, True)
    code, output = said(json.dumps(lambda_in_it.receipt()), "--functions")
    assert (code, "no module:function" in output) == (2, True)
    with pytest.raises(ValueError, match="limits= is not part of a receipt"):
        gs.Loader(gs.open_dataset(root), 4, crop=16, limits=gs.Limits()).receipt()
    with pytest.raises(ValueError, match="epochs=0: at least 1"):
        gs.Loader(gs.open_dataset(root), 4, crop=16).receipt(0)


def test_other_pixels_are_found_out(root: Path, tmp_path: Path) -> None:
    """The index has the same hashes, but a shard holds other images."""
    dataset = gs.open_dataset(root)
    receipt = gs.Loader(dataset, 4, crop=16, shuffle=False).receipt()
    other = tmp_path / "other"
    shutil.copytree(root, other)

    first = dataset.table(["shard", "offset", "size", "width", "height"]).to_pylist()[0]
    to = io.BytesIO()
    Image.fromarray(picture(99, first["width"], first["height"])).save(to, "JPEG", quality=50)
    comment = first["size"] - len(to.getvalue()) - 2
    image = to.getvalue()[:2] + b"\xff\xfe" + (comment).to_bytes(2, "big") + bytes(comment - 2) + to.getvalue()[2:]
    data = bytearray((other / first["shard"]).read_bytes())
    data[first["offset"] : first["offset"] + first["size"]] = image
    (other / first["shard"]).write_bytes(data)
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt))
    code, output = replayed(str(file), "--check", "--data", str(other), "--json")
    assert code == 1, output
    assert json.loads(output)["differences"] == ["the pixels of the first 8 samples of epoch 0 differ"]
