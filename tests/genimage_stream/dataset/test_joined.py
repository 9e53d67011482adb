"""Several datasets as one: the same as one that holds all their samples, in whatever order they are given."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from torch.utils.data import DataLoader

import genimage_stream as gs
from genimage_stream.loading.replay import differences, loader_of
from tests.fixtures.genimage import make_tree
from tests.fixtures.s3 import S3Server
from tests.fixtures.shards import edit_index, make_samples, write_dataset
from tests.fixtures.web import web_of
from tests.shard_tools.conftest import pack_here


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
    assert one.access.digest() == other.access.digest() == gs.open_dataset(parts[2]).access.digest()
    loader = gs.Loader(one, 5, crop=16, seed=3)
    steps = iter(loader)
    next(steps)
    state = loader.state_dict()
    rest = [batch.keys for batch in steps]
    again = gs.Loader(other, 5, crop=16, seed=3)
    again.load_state_dict(state)
    assert [batch.keys for batch in again] == rest
    assert other.access.contributions() == one.access.contributions()
    assert state["parts"] == [{k: part[k] for k in ("path", "samples", "digest")} for part in state["parts"]]
    assert {(part["path"], part["samples"]) for part in state["parts"]} == {(str(a), 8), (str(b), 16)}


def test_a_state_says_which_part_is_another_one(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, whole = parts
    state = gs.Loader(gs.open_dataset([a, b]), 5, crop=16).state_dict()

    def resumed(*paths: Path, state: dict[str, Any] = state) -> gs.Loader:
        loader = gs.Loader(gs.open_dataset(list(paths)), 5, crop=16)
        loader.load_state_dict(state)
        return loader

    with pytest.raises(ValueError, match=f"of the 2 datasets that were joined then, {b} with 16 samples is missing"):
        resumed(a)
    shutil.copytree(a, tmp_path / "a")
    resumed(tmp_path / "a", b)  # the same samples elsewhere
    resumed(whole)  # or in one dataset
    shutil.copytree(b, tmp_path / "b")
    edit_index(tmp_path / "b", lambda table: table.slice(1))
    with pytest.raises(ValueError, match=f"{b} with 16 samples is missing, {tmp_path}/b was none of them"):
        resumed(a, tmp_path / "b")
    moved = json.loads(json.dumps(state).replace(f'"{b}"', f'"{tmp_path}/b"'))
    with pytest.raises(ValueError, match=f"{tmp_path}/b has other samples .16 then, 15 here"):
        resumed(a, tmp_path / "b", state=moved)
    moved["parts"] = [1, {"path": 2}]
    with pytest.raises(ValueError, match="another run"):
        resumed(a, state=moved)


def test_a_part_that_grows_changes_no_order(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Neither of all samples nor of shards, wherever the new generators sort."""
    samples = make_samples(4, splits=("train",))
    write_dataset(tmp_path / "grown", [s for s in samples if s.generator != "biggan"])
    write_dataset(tmp_path / "rest", [s for s in samples if s.generator == "biggan"])
    before = gs.open_dataset([parts[0], tmp_path / "rest"])
    after = gs.open_dataset([tmp_path / "rest", tmp_path / "grown"]).select(generators=["biggan", "sd14"])
    for shuffle in (True, False, "shards"):
        one, other = (gs.Loader(d, 5, crop=16, shuffle=shuffle, seed=2) for d in (before, after))
        assert [batch.keys for batch in one] == [batch.keys for batch in other]


def test_one_generator_in_several_parts(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    samples = [s for s in make_samples(6, splits=("train",)) if s.generator == "adm"]
    for name, some in (("x", samples[::3]), ("y", samples[1::3]), ("z", samples[2::3])):
        write_dataset(tmp_path / name, some, per_shard=2)
    write_dataset(tmp_path / "whole", samples)
    places = [tmp_path / name for name in "xyz"]
    joined = gs.open_dataset(places)
    assert len(set(joined.table(["shard"])["shard"].to_pylist())) == 6
    assert pixels(joined) == pixels(gs.open_dataset(tmp_path / "whole"))
    assert joined.table(["key", "shard"]) == gs.open_dataset(places[::-1]).table(["key", "shard"])


def test_pickles_and_receipts(parts: tuple[Path, Path, Path]) -> None:
    both = gs.open_dataset(list(parts[:2]))
    some = pickle.loads(pickle.dumps(both.select(labels=["fake"])))
    assert pixels(some) == pixels(both.select(labels=["fake"]))
    loader = gs.Loader(both, 5, crop=16, seed=3)
    assert sum(len(batch) for batch in loader) == 24
    receipt = loader.receipt()
    assert receipt["parts"] == [str(part.store.name) for part in both.access.store.parts]  # type: ignore[attr-defined]
    assert differences(receipt, loader_of(receipt)) == []
    assert differences(receipt, loader_of(receipt, [str(parts[1]), str(parts[0])])) == []
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


def test_a_cache_is_shared_with_a_part_alone(parts: tuple[Path, Path, Path], s3: S3Server, tmp_path: Path) -> None:
    """Beside a local one, in S3, pickled."""
    options: dict[str, Any] = {"storage_options": s3.options, "cache_dir": tmp_path / "cache"}
    url = s3.upload(parts[1], "joined-part")
    both = gs.open_dataset([url, parts[0]], **options)
    expected = pixels(gs.open_dataset(parts[2]))
    assert pixels(both, shuffle="shards") == expected
    (folder,) = {path.parent for path in (tmp_path / "cache").rglob("name")}
    assert len(pixels(gs.open_dataset(url, **options), shuffle="shards")) == 16
    assert {path.parent for path in (tmp_path / "cache").rglob("name")} == {folder}
    state = gs.Loader(both, 5, crop=16).state_dict()
    assert {part["path"] for part in state["parts"]} == {url, str(parts[0])}
    assert "gateway-password" not in json.dumps(state)
    assert pixels(pickle.loads(pickle.dumps(both))) == expected


def test_in_workers_of_a_dataloader(parts: tuple[Path, Path, Path]) -> None:
    loader = gs.Loader(gs.open_dataset(list(parts[:2])), 5, crop=16, seed=3)
    workers = DataLoader(loader.as_iterable_dataset(), batch_size=None, num_workers=1)
    assert [batch.keys for batch in workers] == [batch.keys for batch in gs.Loader(loader.dataset, 5, crop=16, seed=3)]


def test_crop_ready_beside_plain(tmp_path: Path) -> None:
    make_tree(tmp_path / "a", generators=("adm",), count=2)
    make_tree(tmp_path / "b", generators=("biggan",), count=2)
    pack_here(tmp_path / "a", tmp_path / "ready", crop_ready=True)
    pack_here(tmp_path / "b", tmp_path / "plain")
    pack_here([tmp_path / "a", tmp_path / "b"], tmp_path / "whole")
    joined = gs.open_dataset([tmp_path / "ready", tmp_path / "plain"])
    assert pixels(joined) == pixels(gs.open_dataset(tmp_path / "whole"))
    with web_of(tmp_path / "ready") as web:
        assert pixels(gs.open_dataset([web.address, tmp_path / "plain"])) == pixels(joined)


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
