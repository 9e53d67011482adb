"""Indexes and dataset.json that somebody or something changed: an error in a sentence, from every reader and tool."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from tests.fixtures.genimage import make_tree
from tests.fixtures.shards import make_dataset
from tests.shard_tools.conftest import pack_here, shard_tools_here
from tests.shard_tools.test_unreadable import within

PLAIN = {"pandas": pa.string(), "Polars": pa.large_string(), "DuckDB": pa.string_view()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few samples, since every one of these tests has all tools read all of them. Not to be written to."""
    here = tmp_path_factory.mktemp("packed")
    make_tree(here / "tree", generators=("adm", "biggan"), count=2)
    pack_here(here / "tree", here / "dst", shard_bytes=10_000)
    return here / "dst"


def edit(root: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(root / "index.parquet")), root / "index.parquet")


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array([values] * len(table))
    return table.set_column(table.schema.get_field_index(name), name, column)


def use(root: Path, tmp_path: Path) -> list[str]:
    """What each reader and tool says; none of them hangs, shows a traceback or reports a fault of the program."""
    said: list[str] = []

    def work() -> None:
        for command in (["verify", root, "--json"], ["info", root], ["report", root, "--html", tmp_path / "x.html"]):
            done = shard_tools_here(*command)
            assert done.code in (0, 1, 2), done.err
            assert "internal error" not in done.err, done.err
            assert "\x1b" not in done.out + done.err
            said.append(f"{done.code} {done.out} {done.err}")
        with contextlib.suppress(OSError, ValueError):
            dataset = gs.open_dataset(root)
            for read in (repr, lambda d: d.counts(), lambda d: d.generators, lambda d: d.first(2), lambda d: d.table()):
                with contextlib.suppress(OSError, ValueError):
                    read(dataset)
            for batch in gs.Loader(dataset, 4, crop=8, threads=1):
                said.append(f"loaded {len(batch)}")
        said.append("end")

    within(250, work)
    assert said[-1] == "end"
    return said


@pytest.mark.parametrize("writer", PLAIN)
def test_plain_strings_mean_the_same(writer: str, packed: Path, tmp_path: Path) -> None:
    """As pandas, Polars and DuckDB write an index that they read; numbers with nulls come as floats or wider."""
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    before = gs.open_dataset(packed)

    def rewrite(table: pa.Table) -> pa.Table:
        for place, field in enumerate(table.schema):
            column = table.column(place)
            if pa.types.is_dictionary(field.type) or field.type == pa.string():
                column = column.cast(pa.string()).cast(PLAIN[writer])
            elif pa.types.is_integer(field.type):
                column = column.cast(pa.float64() if writer == "pandas" and column.null_count else pa.int64())
            table = table.set_column(place, field.name, column)
        return table

    edit(root, rewrite)
    after = gs.open_dataset(root)
    assert after.generators == before.generators
    assert after.table().equals(before.table())
    chosen = {"generators": ["adm"], "labels": ["fake"]}
    assert len(after.select(**chosen)) == len(before.select(**chosen)) > 0
    assert len(after.select(where=pc.field("width") > 20)) == len(before.select(where=pc.field("width") > 20))
    ours, theirs = (list(gs.Loader(d, 4, crop=8, threads=1)) for d in (after, before))
    assert [batch.keys for batch in ours] == [batch.keys for batch in theirs]
    assert shard_tools_here("verify", root).code == 0


ODD_VALUES = [
    *(
        (name, value)
        for name in ("offset", "size", "width", "height")
        for value in (None, -1, 2**62, "many", [1], 0.5, True)
    ),
    *((name, value) for name in ("class_index", "jpeg_quality") for value in (-7, 5000, "cat", {"a": 1})),
    *(
        (name, value)
        for name in ("generator", "split", "label", "format", "mode")
        for value in (None, "", 3, b"x", "[/red]")
    ),
    *(
        (name, value)
        for name in ("generator", "key", "source")
        for value in ("\x1b[2Jx", "a\nproblem: all is lost", "<b>x")
    ),
    *((name, value) for name in ("generator", "synset") for value in ("x" * 5000, "\u202etxt", "../../x")),
    *(("sha256", value) for value in (None, "", "zz" * 32, 7)),
    *(("key", value) for value in (None, "", 1, "a/../b", "the same")),
    ("progressive", "maybe"),
    ("progressive", None),
]


@pytest.mark.parametrize(("name", "value"), ODD_VALUES)
def test_odd_values(name: str, value: Any, packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    edit(root, lambda table: with_column(table, name, value))
    said = use(root, tmp_path)
    if name not in ("source", "synset"):  # the synset follows from the class, and nothing else knows the source
        assert not said[0].startswith("0 "), said[0]  # verify
    assert "problem: all is lost\n" not in "".join(said)


def test_counts_that_differ(packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    edit(root, lambda table: table.slice(1))
    with pytest.raises(ValueError, match=r"index\.parquet has [\d,]+ rows and dataset\.json says"):
        gs.open_dataset(root)
    assert shard_tools_here("verify", root).code == 1


JSON = {
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "long number": '{"seed": ' + "9" * 10_000 + "}",
    "not UTF-8": b"\xff\xfe{",
    "NaN": '{"format_version": NaN}',
    "an array": "[]",
    "empty": "",
    "version 2.5": '{"format_version": 2.5}',
    "version of text": '{"format_version": "\\u001b[2J"}',
    "huge version": '{"format_version": 99999999999999999999}',
}


@pytest.mark.parametrize("kind", JSON)
def test_odd_json(kind: str, packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    text = JSON[kind]
    (root / "dataset.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = use(root, tmp_path)
    assert all(line.startswith("2 ") for line in said[:3])


FIELDS = [
    "seed",
    "options",
    "plan_digest",
    "counts",
    "shards",
    "counts.samples",
    "counts.groups",
    "counts.groups.0.generator",
]
FIELDS += [
    "counts.groups.0.split",
    "counts.groups.0.label",
    "counts.groups.0.size",
    "shards.0.path",
    "shards.0.size",
    "options.png_level",
]
FIELDS += ["options.crop_ready", "format_version"]
VALUES: list[Any] = [None, -5, 10**30, [], {}, "[/red]\x1b[2J", "<script>", [[[]]], True, 1.5, "x" * 100_000]


@pytest.mark.parametrize("field", FIELDS)
def test_odd_fields(field: str, packed: Path, tmp_path: Path) -> None:
    whole = json.loads((packed / "dataset.json").read_text())
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    for value in VALUES:
        facts = json.loads(json.dumps(whole))
        *way, last = field.split(".")
        inner = facts
        for step in way:
            inner = inner[int(step) if step.isdigit() else step]
        inner[last] = value
        (root / "dataset.json").write_text(json.dumps(facts))
        done = shard_tools_here("info", root)
        assert done.code in (0, 2), (value, done.err)
        assert "internal error" not in done.err, (value, done.err)
        assert "\x1b" not in done.out + done.err
        done = shard_tools_here("verify", root, "--json")
        assert "internal error" not in done.err, (value, done.err)
        with contextlib.suppress(OSError, ValueError):
            repr(gs.open_dataset(root))


def test_bytes_of_an_index_that_are_others(tmp_path: Path) -> None:
    """Random bytes in place of others: each index is read in a process of its own, which must not be ended by Arrow."""
    root = make_dataset(tmp_path / "dataset", 4)
    sound = (root / "index.parquet").read_bytes()
    footer = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
    rng = np.random.default_rng(1)
    answers: list[int] = []
    for number in range(100):
        raw = bytearray(sound)
        for _ in range(int(rng.integers(1, 6))):
            raw[int(rng.integers(footer if number % 5 else 0, len(raw)))] = int(rng.integers(256))
        (root / "index.parquet").write_bytes(bytes(raw))
        child = os.fork()
        if not child:
            answer = 3
            try:
                signal.alarm(30)
                gs.open_dataset(root).table()
                answer = 0
            except (OSError, ValueError):
                answer = 1
            finally:
                os._exit(answer)
        answers.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert set(answers) <= {0, 1}, answers
    assert answers.count(1) > 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", -(2**63)),
        ("width", 0),
        ("size", None),
        ("label", None),
        ("jpeg_quality", 1e308),
        ("class_index", 2**31),
    ],
)
def test_what_is_written_again_is_checked(name: str, value: Any, packed: Path, tmp_path: Path) -> None:
    """`drop` and growth write an index from the one that is there."""
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    edit(root, lambda table: with_column(table, name, value))
    before = (root / "index.parquet").read_bytes()
    done = shard_tools_here("drop", root, "--generators", "adm")
    assert done.code == 2, done.err
    assert f"the column {name}" in done.err
    assert (root / "index.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "value"), [("crop_ready", "x"), ("shard_size", {}), ("seed", -1), ("keep", [1]), ("check", None)]
)
def test_odd_options_are_named(option: str, value: Any, packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    facts = json.loads((root / "dataset.json").read_text())
    facts["options"][option] = value
    (root / "dataset.json").write_text(json.dumps(facts))
    for command in (
        ("subset", root, tmp_path / "sub", "--where", "label == 'fake'"),
        ("drop", root, "--generators", "adm"),
    ):
        done = shard_tools_here(*command)
        assert "internal error" not in done.err, done.err
        assert done.code == 2 or command[0] == "drop", done.err


@pytest.mark.parametrize("name", ["dataset.json", ".pack/plan.json"])
def test_files_of_words_that_are_huge_are_not_read(name: str, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    place = tmp_path / "dst" / name
    place.parent.mkdir(exist_ok=True)
    with place.open("ab") as file:
        file.truncate(65 << 20)
    done = shard_tools_here("drop", tmp_path / "dst", "--generators", "adm")
    assert (done.code, "none that this program writes has more than" in done.err) == (2, True), done.err
    if name == "dataset.json":
        with pytest.raises(OSError, match="none that this program writes has more than"):
            gs.open_dataset(tmp_path / "dst")


def test_notes_that_nest_deeply_beside_counts_that_differ(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    edit(tmp_path / "dst", lambda table: table.slice(1))
    (tmp_path / "dst" / ".pack").mkdir()
    (tmp_path / "dst" / ".pack" / "plan.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="different datasets"):
        gs.open_dataset(tmp_path / "dst")
