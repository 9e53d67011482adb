"""Several datasets as one: the same as one that holds all their samples, in whatever order they are given."""

from __future__ import annotations

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import genimage_stream as gs
from tests.fixtures.shards import edit_index, make_samples, write_dataset
from tests.fixtures.web import web_of


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """a (sd14), b (adm, biggan), and all of both."""
    root = tmp_path_factory.mktemp("joined")
    samples = make_samples(4, splits=("train",))
    write_dataset(root / "a", [s for s in samples if s.generator == "sd14"])
    write_dataset(root / "b", [s for s in samples if s.generator != "sd14"])
    write_dataset(root / "whole", samples)
    return root / "a", root / "b", root / "whole"


def pixels(dataset: gs.Dataset, **options: Any) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for batch in gs.Loader(dataset, 5, crop=16, flip=True, seed=3, **options):
        rows = zip(batch.keys, batch.labels.tolist(), batch.generators.tolist(), batch.images, strict=True)
        found.update({key: (label, code, image.numpy().tobytes()) for key, label, code, image in rows})
    return found


def test_the_same_as_one_dataset(parts: tuple[Path, Path, Path]) -> None:
    a, b, whole = parts
    one, both = gs.open_dataset(whole), gs.open_dataset([a, b])
    assert len(both) == len(one) == 24
    assert both.generators == one.generators == ["adm", "biggan", "sd14"]
    assert both.counts() == one.counts()
    assert pixels(both) == pixels(one)
    assert str(a) in both.path
    assert str(b) in both.path
    some = both.select(generators=["sd14"], labels=["fake"])
    assert pixels(some) == pixels(one.select(generators=["sd14"], labels=["fake"]))
    for key in (one[0].key, one[-1].key):
        assert both[key].data == one[key].data
    assert [both[i].key for i in range(24)] == both.table(["key"])["key"].to_pylist()
    assert len(gs.open_dataset([a])) == 8


def test_the_order_of_the_parts_changes_nothing(parts: tuple[Path, Path, Path]) -> None:
    a, b, _ = parts
    one, other = gs.open_dataset([a, b]), gs.open_dataset([b, str(a)])
    assert one.access.digest() == other.access.digest()
    loader = gs.Loader(one, 5, crop=16, seed=3)
    steps = iter(loader)
    next(steps)
    state = loader.state_dict()
    rest = [batch.keys for batch in steps]
    again = gs.Loader(other, 5, crop=16, seed=3)
    again.load_state_dict(state)
    assert [batch.keys for batch in again] == rest
    with pytest.raises(ValueError, match="dataset"):
        gs.Loader(gs.open_dataset(a), 5, crop=16, seed=3).load_state_dict(state)


def test_pickles_and_receipts(parts: tuple[Path, Path, Path]) -> None:
    both = gs.open_dataset(list(parts[:2]))
    some = pickle.loads(pickle.dumps(both.select(labels=["fake"])))
    assert pixels(some) == pixels(both.select(labels=["fake"]))
    loader = gs.Loader(both, 5, crop=16, seed=3)
    assert sum(len(batch) for batch in loader) == 24
    assert loader.receipt()
    scores = gs.Scores(both)
    for batch in loader:
        scores.add(batch, batch.labels.float())
    assert {row["count"] for row in scores.table(by="subset").rows} == {8}


def test_parts_elsewhere(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """One on a disk, one behind a web server: a batch has samples of both."""
    with web_of(parts[1]) as web:
        both = gs.open_dataset([parts[0], web.address])
        assert pixels(both) == pixels(gs.open_dataset(parts[2]))
        assert both["adm_train_fake_00000"].data == gs.open_dataset(parts[2])["adm_train_fake_00000"].data


def test_samples_in_both(parts: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "genimage_stream"):
        both = gs.open_dataset([parts[0], parts[2]])
    assert len(both) == 24
    assert "8 samples are in several of them, and taken once" in caplog.text
    assert pixels(both) == pixels(gs.open_dataset(parts[2]))


def test_other_bytes_of_one_key(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    shutil.copytree(parts[0], tmp_path / "a")

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("sha256")
        return table.set_column(place, "sha256", pc.binary_replace_slice(table["sha256"], 0, 4, "beef"))

    edit_index(tmp_path / "a", change)
    with pytest.raises(ValueError, match="8 samples have the key of another one and other bytes"):
        gs.open_dataset([parts[0], tmp_path / "a"])


def test_parts_that_are_none(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        gs.open_dataset([])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        gs.open_dataset([parts[0], tmp_path / "missing"])


def test_another_label_of_the_same_bytes(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Which part says the truth is unknown, and which one comes first is chance."""
    shutil.copytree(parts[0], tmp_path / "a")

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("label")
        turned = pc.if_else(pc.equal(table["label"].cast(pa.string()), "real"), "fake", "real")
        return table.set_column(place, table.schema.field(place), turned.cast(table.schema.field(place).type))

    edit_index(tmp_path / "a", change)
    with pytest.raises(ValueError, match="8 samples have the key of another one and another label"):
        len(gs.open_dataset([tmp_path / "a", parts[2]]))
