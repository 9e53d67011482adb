"""Tables of a dataset whose columns are doubled, of other types, without values, or hold bytes that are no text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import genimage_stream as gs
from tests.fixtures.shards import picture, write_dataset
from tests.shard_tools.conftest import shard_tools_here


def no_text(count: int) -> pa.Array:
    ends = np.arange(count + 1, dtype=np.int32) * 3
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(ends), pa.py_buffer(b"a\xff(" * count)])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators of two images each, and a file in quarantine."""
    folder = tmp_path_factory.mktemp("small")
    for generator in ("adm", "sd14"):
        for label, name in (("ai", "0_0.png"), ("nature", "n01440764_0.png")):
            place = folder / "source" / generator / "train" / label / name
            place.parent.mkdir(parents=True)
            Image.fromarray(picture(len(str(place)), 20, 20)).save(place)
    (place.parent / "broken.png").write_bytes(b"no image")
    assert shard_tools_here("pack", folder / "source", folder / "dst").code == 0
    return folder / "dst"


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "dst")
    return tmp_path / "dst"


def edit(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def said(root: Path, *commands: str) -> str:
    """What tools say; each ends with a sentence that names what is wrong, or has a right answer."""
    text = ""
    for command in commands:
        name, *options = command.split()
        if name == "report":
            options += ["--html", str(root.parent / "x.html")]
        done = shard_tools_here(name, root, *options)
        assert done.code in (0, 1, 2), done.err
        text += f"{name} {done.code}: {done.out}{done.err}"
    return text


ALL = ("verify", "info", "info --quarantine", "report", "drop --generators adm")


@pytest.mark.parametrize("column", ["generator", "key", "jpeg_quality"])
def test_doubled_columns_of_the_index(root: Path, column: str) -> None:
    edit(root / "index.parquet", lambda table: table.append_column(column, table[column]))
    text = said(root, *ALL)
    assert text.count(f"has several columns called {column}: restore it") == len(ALL)
    with pytest.raises(ValueError, match=rf"index\.parquet has several columns called {column}"):
        gs.open_dataset(root)


@pytest.mark.parametrize("column", ["key", "source", "sha256"])
def test_bytes_that_are_no_text_in_the_index(root: Path, column: str) -> None:
    edit(
        root / "index.parquet",
        lambda table: table.set_column(table.column_names.index(column), column, no_text(len(table))),
    )
    assert f"the column {column} is damaged" in said(root, "verify")
    said(root, "info", "report", "drop --generators adm")
    with pytest.raises(ValueError, match=f"the column {column} is damaged"):
        gs.open_dataset(root).table([column])


ODD: dict[str, Callable[[pa.Table], pa.Table]] = {
    "another type": lambda table: with_column(table, "reason", pa.array([{"a": 1}] * len(table))),
    "bytes": lambda table: with_column(table, "reason", pa.array([b"x"] * len(table))),
    "no reason": lambda table: with_column(table, "reason", pa.nulls(len(table), pa.string())),
    "no text": lambda table: with_column(table, "source", no_text(len(table))),
    "doubled": lambda table: table.append_column("source", table["source"]),
    "missing": lambda table: table.drop_columns(["split"]),
    "a name that is no text": lambda table: table,
}


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize("kind", ODD)
def test_a_quarantine_list_that_is_none(root: Path, kind: str) -> None:
    file = root / "quarantine.parquet"
    edit(file, ODD[kind])
    if kind == "a name that is no text":
        file.write_bytes(file.read_bytes().replace(b"reason", b"reas\xffn"))
    commands = ("verify", "info --quarantine", "report", "drop --generators adm")
    assert said(root, *commands).count("quarantine.parquet cannot be read") == 4


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_a_quarantine_list_by_other_programs(root: Path, kind: pa.DataType) -> None:
    before = said(root, "info --quarantine")

    def rewrite(table: pa.Table) -> pa.Table:
        for name in table.column_names:
            column = table[name].dictionary_encode() if pa.types.is_dictionary(kind) else table[name].cast(kind)
            table = with_column(table, name, column)
        return table

    edit(root / "quarantine.parquet", rewrite)
    assert said(root, "info --quarantine") == before
    assert "verify 0" in said(root, "verify")


def test_a_kept_column_of_a_name_that_pack_does_not_give(root: Path) -> None:
    edit(root / "index.parquet", lambda table: table.append_column("x_<b>", table["key"]))
    assert "has a column 'x_<b>', whose name pack does not give" in said(root, "drop --generators adm")
    assert "report 0" in said(root, "report")


def test_a_report_of_files_in_quarantine_alone(tmp_path: Path) -> None:
    place = tmp_path / "source" / "sd14" / "train" / "ai" / "0.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"no image")
    assert shard_tools_here("pack", tmp_path / "source", tmp_path / "dst").code == 1
    done = shard_tools_here("report", tmp_path / "dst", "--html", tmp_path / "x.html", "--json")
    assert (done.code, done.json["samples"], done.json["quarantined"]) == (0, 0, 1)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_of_dataset_json_that_are_none(root: Path, number: str) -> None:
    """What `info --json` says of them would be no JSON."""
    file = root / "dataset.json"
    file.write_text(file.read_text().replace('"seed": 0', f'"seed": {number}'))
    assert said(root, "verify", "info").count(f"dataset.json is damaged (the number {number})") == 2


def test_an_index_without_rows(tmp_path: Path) -> None:
    dataset = gs.open_dataset(write_dataset(tmp_path, []))
    assert (len(dataset), dataset.counts(), dataset.generators) == (0, {}, [])
    assert "0" in repr(dataset)


def test_a_sample_without_a_label_is_not_counted(root: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        labels = table["label"].to_pylist()
        return with_column(table, "label", pa.array([None, *labels[1:]], pa.string()))

    edit(root / "index.parquet", change)
    for look in (lambda dataset: dataset.counts(), repr):
        with pytest.raises(ValueError, match=r"index\.parquet holds the label 'null'"):
            look(gs.open_dataset(root))
