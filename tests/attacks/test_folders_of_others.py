"""Folders that programs write to and strangers prepared: nothing outside of them, and nothing of others, is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.evaluation.run import Evaluation, evaluate, write_results
from genimage_stream.page.file import write_page
from genimage_stream.storage.cache import ShardCache
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import web_of

OUTPUTS = [
    "evaluation.json",
    ".parts",
    "scores.parquet",
    "scores.new",
    "table.md",
    "table.csv",
    "table.json",
    "index.html",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("model") / "a_model.py"
    file.write_text("def load():\n    return lambda images: images.mean((1, 2, 3))\n")
    return f"{file}:load"


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_evaluation_writes_through_no_link(root: Path, model: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.parquet").write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    os.symlink(tmp_path / "elsewhere" / ("." if name == ".parts" else "mine.parquet"), tmp_path / "out" / name)
    with pytest.raises(ValueError, match=rf"out/{name} is a link: choose another --out"):
        evaluate(gs.open_dataset(root), Evaluation(model), tmp_path / "out", print)
    assert (tmp_path / "elsewhere" / "mine.parquet").read_bytes() == b"mine"


@pytest.mark.parametrize("name", [*OUTPUTS, ".parts/a.parquet"])
def test_an_evaluation_waits_for_no_pipe(root: Path, model: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is not a (file|folder): choose another --out"):
        evaluate(gs.open_dataset(root), Evaluation(model), tmp_path, print)


def test_an_evaluation_removes_its_own_parts_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    for name in ("b.new", "notes.txt"):
        (tmp_path / ".parts" / name).write_bytes(b"x")
    dataset = gs.open_dataset(root)
    scores = gs.Scores(dataset)
    scores.add(np.arange(len(dataset)), np.linspace(0, 1, len(dataset)))
    scores.save(tmp_path / ".parts" / "a.parquet")
    write_results(tmp_path, scores, scores.table(by="subset"), "page")
    assert [file.name for file in (tmp_path / ".parts").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("text", ["[" * 100_000, "\x00", "[]", ""])
def test_a_damaged_note_is_of_another_evaluation(root: Path, model: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.parquet").write_bytes(b"x")  # a note alone is of a run that came to nothing
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match="holds the scores of another evaluation"):
        evaluate(gs.open_dataset(root), Evaluation(model), tmp_path, print)


def test_a_cache_evicts_its_own_shards_alone(tmp_path: Path) -> None:
    """It was given a folder in which somebody keeps other tars."""
    (tmp_path / "photos").mkdir()
    for mine in (tmp_path / "mine.tar", tmp_path / "photos" / "mine.tar", tmp_path / "photos" / "mine.tar.part"):
        mine.write_bytes(bytes(1000))
    cache = ShardCache(tmp_path, 100, "one")
    for number in range(3):
        download = cache.begin(f"a/{number}.tar", 80, evict=True)
        assert download is not None
        download.write(0, bytes(80))
        download.finish().close()
    assert cache.size() == 80
    assert len(list(tmp_path.rglob("mine.tar*"))) == 3


@pytest.mark.parametrize("shuffle", ["shards", True])
def test_a_folder_in_place_of_a_cached_shard(root: Path, tmp_path: Path, shuffle: Any) -> None:
    with web_of(root) as web:
        expected = [batch.keys for batch in gs.Loader(gs.open_dataset(root), 4, crop=16, shuffle=shuffle)]
        dataset = gs.open_dataset(web.address, cache_dir=tmp_path)
        contents = dataset.access.contents()
        cache = ShardCache(tmp_path, 1000, f"{web.address}\n{contents.identity}")
        download = cache.begin("probe.tar", 1, evict=False)
        assert download is not None
        download.finish().close()
        (own,) = (path.parent for path in tmp_path.rglob("probe.tar"))
        for shard in dataset.access.shards()[1]:
            (own / shard).mkdir(parents=True)
        assert [batch.keys for batch in gs.Loader(dataset, 4, crop=16, shuffle=shuffle)] == expected


def test_a_link_in_place_of_an_unfinished_page_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".page.html.{os.getpid()}.part").symlink_to(victim)
    write_page(str(tmp_path / "page.html"), "<p>page")
    assert victim.read_text() == "precious"
    assert (tmp_path / "page.html").read_text() == "<p>page"
