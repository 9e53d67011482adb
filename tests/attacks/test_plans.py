"""Plans of datasets that many machines pack, changed by whoever may write to the destination, or damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import Ran, shard_tools_here, tree_bytes

SIZE = ("--shard-size", "20kB")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "src"
    make_tree(folder, generators=("adm",), count=2)
    return folder


@pytest.fixture(scope="module")
def planned(source: Path) -> Path:
    """A plan of which the first part of two is packed."""
    assert shard_tools_here("pack", source, source.parent / "planned", *SIZE, "--part", "1/2").code == 0
    return source.parent / "planned"


@pytest.fixture
def here(planned: Path, tmp_path: Path) -> Path:
    shutil.copytree(planned, tmp_path / "dst")
    return tmp_path / "dst"


def changed(
    dst: Path, change: Callable[[dict[str, Any]], object] | None = None, column: tuple[str, pa.Array] | None = None
) -> None:
    """Change what a plan says, with its sha256."""
    (place,) = dst.glob(".pack/plan-*.arrow")
    table = pa.ipc.open_file(pa.py_buffer(place.read_bytes())).read_all()
    said = json.loads(table.schema.metadata[b"plan"])
    if change is not None:
        change(said)
    if column is not None:
        table = table.set_column(table.column_names.index(column[0]), *column)
    table = table.replace_schema_metadata({"plan": json.dumps(said)})
    with pa.OSFile(str(place), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    fields = json.loads((dst / ".pack" / "plan.json").read_text())
    fields["sha256"] = hashlib.sha256(place.read_bytes()).hexdigest()
    (dst / ".pack" / "plan.json").write_text(json.dumps(fields))


def commands(source: Path, dst: Path) -> list[Ran]:
    return [shard_tools_here("pack", source, dst, *SIZE, "--part", "2/2"), shard_tools_here("gather", dst)]


def refused(source: Path, dst: Path, message: str = "cannot be read") -> None:
    for done in commands(source, dst):
        assert done.code == 2, (done.out, done.err)
        assert message in done.err
    assert not (dst / "dataset.json").exists()


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_damaged_plan(how: str, source: Path, here: Path) -> None:
    """A size in it that changes is no error of any reader, and Arrow dies of some offsets."""
    (place,) = here.glob(".pack/plan-*.arrow")
    raw = bytearray(place.read_bytes())
    raw[len(raw) // 2] ^= 16
    place.write_bytes({"flipped": raw, "cut": raw[:500], "empty": b""}[how])
    refused(source, here)


SAID: dict[str, Callable[[dict[str, Any]], object]] = {
    "shard elsewhere": lambda said: said["shards"][0].__setitem__(0, "../x.tar"),
    "shard of another name": lambda said: said["shards"][0].__setitem__(0, "adm/train/x.tar"),
    "negative shard": lambda said: said["shards"][0].__setitem__(4, -1),
    "no shards": lambda said: said.__setitem__("shards", []),
    "label": lambda said: said["groups"][0].__setitem__(4, "maybe"),
    "container": lambda said: said["groups"][0].__setitem__(0, 7),
    "folder": lambda said: said["groups"][0].__setitem__(1, None),
    "generator": lambda said: said["plans"][0].__setitem__(0, "../.."),
    "files": lambda said: said["plans"][0].__setitem__(2, 1),
    "root": lambda said: said["containers"][0][1].__setitem__("root", 5),
    "kind": lambda said: said["containers"][0].__setitem__(0, "Container"),
    "field": lambda said: said["containers"][0][1].__setitem__("x", 5),
    "options": lambda said: said["options"].__setitem__("crop_ready", "yes"),
    "changed": lambda said: said.__setitem__("changed", 2),
    "system files": lambda said: said.__setitem__("system_files", float("inf")),
    "rejected": lambda said: said.__setitem__("rejected", [[1, 2, 3, 4, 5]]),
}


@pytest.mark.parametrize("what", SAID)
def test_an_odd_plan(what: str, source: Path, here: Path) -> None:
    changed(here, SAID[what])
    refused(source, here)


def columns(rows: int) -> dict[str, pa.Array]:
    offsets = np.arange(rows + 1, dtype=np.int32)
    offsets[1] = 1 << 30
    torn = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(b"x" * rows))
    return {
        "key": pa.array(["../x"] * rows),
        "group": pa.array([99] * rows, pa.int32()),
        "size": pa.array([-1] * rows, pa.int64()),
        "class_index": pa.array([5000] * rows, pa.int16()),
        "name": pa.array(["a\0b"] * rows),
        "synset": pa.array([1] * rows),
        "source": torn,
    }


@pytest.mark.parametrize("name", columns(0 + 8))
def test_odd_columns_of_a_plan(name: str, source: Path, here: Path) -> None:
    (place,) = here.glob(".pack/plan-*.arrow")
    rows = len(pa.ipc.open_file(pa.py_buffer(place.read_bytes())).read_all())
    changed(here, column=(name, columns(rows)[name]))
    done = shard_tools_here("pack", source, here, *SIZE, "--part", "2/2")
    assert (done.code, "cannot be read" in done.err) == (2, True), done.err


def test_a_plan_of_other_counts(source: Path, here: Path) -> None:
    place = here / ".pack" / "plan.json"
    fields = json.loads(place.read_text())
    for change in ({"planned_shards": 1}, {"planned_files": 3}, {"plan_digest": "x"}):
        place.write_text(json.dumps({**fields, **change}))
        refused(source, here)
    for change in ({"planned_shards": -1}, {"planned_files": True}, {"license": ["x"]}, {"license": "a\nb"}):
        place.write_text(json.dumps({**fields, **change}))
        refused(source, here, "is damaged")
    place.write_text("[" * 100_000)
    refused(source, here, "is damaged")


def test_unfolded_files_that_are_links(source: Path, tmp_path: Path) -> None:
    """What a tar is unfolded to is the packer's own: a link in its place is not read."""
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src" / "all.tar.gz", "w:gz") as tar:
        tar.add(source, ".")
    dst = tmp_path / "dst"
    assert shard_tools_here("plan", tmp_path / "src", dst, *SIZE).code == 0
    (unfolded,) = dst.glob(".pack/unfolded/*")
    raw = bytearray(unfolded.read_bytes())
    (tmp_path / "others.tar").write_bytes(bytes(len(raw)))
    unfolded.unlink()
    unfolded.symlink_to(tmp_path / "others.tar")
    assert shard_tools_here("pack", tmp_path / "src", tmp_path / "whole", *SIZE).code == 0
    done = shard_tools_here("pack", tmp_path / "src", dst, *SIZE, "--part", "1/1")
    assert done.code == 0, done.err
    assert shard_tools_here("gather", dst).code == 0
    assert tree_bytes(dst) == tree_bytes(tmp_path / "whole")


def odd_results(table: pa.Table, said: dict[str, Any]) -> dict[str, tuple[pa.Table, dict[str, Any]]]:
    place = table.column_names.index("shard")
    elsewhere = pa.array(["adm/train/../../x.tar"] * len(table)).dictionary_encode()
    return {
        "shard": (table.set_column(place, table.schema.field("shard"), elsewhere), said),
        "column": (table.drop_columns(["sha256"]), said),
        "row": (table.slice(1), said),
        "item": (table, {**said, "quarantined": [[99, "x"]]}),
        "size": (table, {**said, "size": 1e999}),
    }


@pytest.mark.parametrize("kind", ["shard", "column", "row", "item", "size"])
def test_a_result_of_another_shard(kind: str, source: Path, here: Path, tmp_path: Path) -> None:
    """Its shard is packed again."""
    place = min(here.glob(".pack/shards/*.arrow"))
    table = pa.ipc.open_file(pa.py_buffer(place.read_bytes()[:-4])).read_all()
    table, said = odd_results(table, json.loads(table.schema.metadata[b"result"]))[kind]
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({"result": json.dumps(said)})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    raw = sink.getvalue().to_pybytes()
    place.write_bytes(raw + zlib.crc32(raw).to_bytes(4, "little"))
    missing = commands(source, here)[-1]
    assert (missing.code, "part 1 of 2 is not done" in missing.out) == (1, True), missing.err
    assert shard_tools_here("pack", source, here, *SIZE, "--part", "1/2").code == 0
    assert shard_tools_here("gather", here).code == 0
    assert shard_tools_here("pack", source, tmp_path / "whole", *SIZE).code == 0
    assert tree_bytes(here) == tree_bytes(tmp_path / "whole")
