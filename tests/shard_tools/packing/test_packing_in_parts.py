"""Packing in parts: the bytes of one run, whatever happens to the parts, and nothing that says that there were any."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shard_tools.engines import local, ray
from shard_tools.errors import ToolError
from shard_tools.layout.columns import parse_columns
from shard_tools.packing.part import MissingPartsError, gather_parts
from shard_tools.scan import scan as scan_sources
from tests.fixtures.genimage import make_tree, real_jpeg
from tests.shard_tools.conftest import pack_here, shard_tools_here, tree_bytes
from tests.shard_tools.packing.in_parts import SIZE, Meddler, command, do_part, ended, left

Tree = tuple[Path, list[Any]]


def test_parts_at_the_same_time_without_a_plan(
    parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The first process to come plans, the other waits for it; and two gather."""
    options = ("pack", parts_source, tmp_path / "dst", *SIZE, "--workers", 1, "--part")
    parts = [command(*options, part) for part in ("1/2", "2/2")]
    assert [ended(one) for one in parts] == [0, 0]
    assert len(list((tmp_path / "dst" / ".pack").glob("plan-*"))) == 1
    other = command("gather", tmp_path / "dst")
    done = shard_tools_here("gather", tmp_path / "dst")
    assert (done.code, ended(other)) == (0, 0)
    assert tree_bytes(tmp_path / "dst") == parts_whole
    assert left(tmp_path / "dst") == []
    late = shard_tools_here(*options, "2/7")
    assert (late.code, "finished already" in late.out) == (0, True)


def test_a_part_that_is_killed_comes_again(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    options = (standard_tree[0], tmp_path / "dst", "--shard-size", "60kB")
    planned = shard_tools_here("plan", *options, "--json")
    assert (planned.code, planned.json["state"], planned.json["files"]) == (0, "planned", len(standard_tree[1]))
    assert shard_tools_here("plan", *options, "--json").json["state"] == "unfinished"
    process = command("pack", *options, "--workers", 1, "--part", "1/2")
    while process.poll() is None and not list(tmp_path.glob("dst/.pack/shards/*.arrow")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert shard_tools_here("pack", *options, "--part", "2/2").code == 0
    on = shard_tools_here("pack", *options, "--part", "1/2")
    assert "going on" in on.err or "done already" in on.out  # where the kill came late
    again = shard_tools_here("pack", *options, "--part", "1/2")
    assert (again.code, "part 1/2 is done already" in again.out) == (0, True)
    assert shard_tools_here("gather", tmp_path / "dst").code == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)
    assert left(tmp_path / "dst") == []


def test_missing_parts_are_named(
    parts_source: Path, parts_begun: Path, parts_whole: dict[str, bytes], tmp_path: Path
) -> None:
    shutil.copytree(parts_begun, tmp_path / "dst")
    done = shard_tools_here("gather", tmp_path / "dst")
    assert (done.code, "parts 1,3 of 3 are not done" in done.out) == (1, True)
    do_part(parts_source, tmp_path / "dst", "3/3")
    done = shard_tools_here("gather", tmp_path / "dst", "--json")
    assert (done.code, done.json["missing"], done.json["parts"]) == (1, [1], 3)
    do_part(parts_source, tmp_path / "dst", "1/3")
    lost = next(iter(sorted(tmp_path.glob("dst/sd14/*/*-00000.tar"))))
    lost.write_bytes(lost.read_bytes()[:-1024])  # of a disk that lost the end of a shard
    with pytest.raises(MissingPartsError) as caught:
        gather_parts(str(tmp_path / "dst"))
    assert len(caught.value.missing) == 1
    assert do_part(parts_source, tmp_path / "dst", f"{caught.value.missing[0]}/3").shards == 1
    assert gather_parts(str(tmp_path / "dst")).state == "new"
    assert tree_bytes(tmp_path / "dst") == parts_whole
    assert shard_tools_here("gather", tmp_path / "dst", "--strict").code == 0  # there is nothing to do


def test_gather_says_what_pack_says(parts_source: Path, parts_begun: Path, tmp_path: Path) -> None:
    shutil.copytree(parts_begun, tmp_path / "dst")
    for part in ("1/3", "3/3"):
        do_part(parts_source, tmp_path / "dst", part)
    done = shard_tools_here("gather", tmp_path / "dst", "--strict", "--json")
    assert (done.code, done.json["state"], done.json["quarantined"]) == (1, "new", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "1/4"], "is being packed in 3 parts, not 4"),
        (["--part", "1/3", "--seed", 5], "seed = 0, not 5"),
        (["--part", "1/3", "--license", "mit"], "license = nothing, not mit"),
        (["--part", "1/3", "--splits", "val"], "of other files"),
        (["--part", "4/3"], "there is no part 4 of 3"),
        (["--part", "0/3"], "there is no part 0 of 3"),
        (["--part", "1"], "--part 1: write e.g. --part 3/64"),
        (["--part", "1/0"], "0 parts"),
        (["--part", "1/3", "--strict"], "give --strict to `shard-tools gather`"),
        (["--part", "1/3", "--add", "x"], "omit --part"),
        (["--part", "1/3", "--engine", "slurm"], "choose one of local, ray"),
        ([], "is being packed in parts"),
    ],
)
def test_what_does_not_fit_the_plan(arguments: list[str], message: str, parts_source: Path, parts_begun: Path) -> None:
    before = tree_bytes(parts_begun)
    done = shard_tools_here("pack", parts_source, parts_begun, *SIZE, *arguments)
    assert (done.code, message in done.err) == (2, True), done.err
    assert tree_bytes(parts_begun) == before


@pytest.mark.parametrize("what", ["other paths", "another version"])
def test_other_plans_of_the_same_files(
    what: str, parts_source: Path, parts_begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, message = parts_source, "install the same version"
    if what == "other paths":  # which are in the column `source`
        given, message = parts_source.parent / "outer", "the same SRC and options"
        given.mkdir(exist_ok=True)
        if not (given / "src").exists():
            shutil.copytree(parts_source, given / "src")
    else:
        monkeypatch.setattr("shard_tools.packing.planner.__version__", "0.0.1")
    with pytest.raises(ToolError, match=message):
        do_part(given, parts_begun, "1/3")


def test_sources_that_change_between_parts(parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path) -> None:
    """A file that comes, goes or grows is an error until the source is what it was; other paths to it are none."""
    here = tmp_path / "src"
    shutil.copytree(parts_source, here)
    do_part(here, tmp_path / "dst", "1/2")
    victim = max(here.rglob("*.png"), key=lambda path: path.stat().st_size)
    data = victim.read_bytes()
    new = victim.with_name("1_adm_99.PNG")
    new.write_bytes(data)
    with pytest.raises(ToolError, match=r"planned for \d+ files, the source has"):
        do_part(here, tmp_path / "dst", "2/2")
    new.unlink()
    victim.unlink()
    with pytest.raises(ToolError, match="of other files"):
        do_part(here, tmp_path / "dst", "2/2")
    for path in (path for path in here.rglob("*") if path.suffix.lower() in (".png", ".jpeg") and path != victim):
        path.write_bytes(path.read_bytes() + b"more")
    victim.write_bytes(data)
    with pytest.raises(ToolError, match="of other files"):
        do_part(here, tmp_path / "dst", "2/2")
    shutil.rmtree(here)
    do_part(parts_source, tmp_path / "dst", "2/2")
    gather_parts(str(tmp_path / "dst"))
    assert tree_bytes(tmp_path / "dst") == parts_whole


def test_a_plan_that_somebody_changed(parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path) -> None:
    """It does not lead out of the sources, to files of the person who packs."""
    shutil.copytree(parts_source, tmp_path / "src")
    shutil.copytree(parts_source, tmp_path / "own")
    for path in (tmp_path / "own").rglob("*.*"):
        path.write_bytes(bytes(path.stat().st_size))
    shard_tools_here("plan", tmp_path / "src", tmp_path / "dst", *SIZE)
    (plan,) = tmp_path.glob("dst/.pack/plan-*.arrow")
    root, other = (f'"root": "{tmp_path}/{name}"'.encode() for name in ("src", "own"))
    assert root in plan.read_bytes()
    plan.write_bytes(plan.read_bytes().replace(root, other))
    fields = json.loads((plan.parent / "plan.json").read_text())
    fields["sha256"] = hashlib.sha256(plan.read_bytes()).hexdigest()
    (plan.parent / "plan.json").write_text(json.dumps(fields))
    do_part(tmp_path / "src", tmp_path / "dst", "1/1")
    gather_parts(str(tmp_path / "dst"))
    assert tree_bytes(tmp_path / "dst") == parts_whole


def test_a_damaged_plan_is_a_sentence(parts_source: Path, parts_begun: Path, tmp_path: Path) -> None:
    shutil.copytree(parts_begun, tmp_path / "dst")
    plan = tmp_path / "dst" / ".pack" / "plan.json"
    fields = json.loads(plan.read_text())
    (name,) = tmp_path.glob("dst/.pack/plan-*.arrow")
    name.write_bytes(name.read_bytes()[:-200])
    for changed in ({}, {"list": "../x.arrow"}, {"list": 3}, {"planned_shards": "many"}, {"plan_digest": None}):
        plan.write_text(json.dumps({**fields, **changed}))
        with pytest.raises(ToolError):
            do_part(parts_source, tmp_path / "dst", "1/3")
        if "plan_digest" not in changed:
            with pytest.raises(ToolError, match=r"cannot be read|is damaged"):
                gather_parts(str(tmp_path / "dst"))


def test_one_run_and_parts_do_not_mix(parts_source: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        pack_here(parts_source, tmp_path / "dst", shard_bytes=20_000, progress=Meddler(_fails))
    for done in (
        shard_tools_here("pack", parts_source, tmp_path / "dst", *SIZE, "--part", "1/2"),
        shard_tools_here("gather", tmp_path / "dst"),
    ):
        assert (done.code, "was not begun in parts" in done.err) == (2, True), done.err
    done = shard_tools_here("gather", tmp_path / "nothing")
    assert (done.code, "nothing that was packed in parts" in done.err) == (2, True)
    assert not (tmp_path / "nothing").exists()


def _fails() -> None:
    raise RuntimeError


def test_a_source_that_cannot_be_planned_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--part", "1/2")
    assert (done.code, "there are no files" in done.err) == (2, True)
    assert not (tmp_path / "dst").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("words")
    done = shard_tools_here("plan", tmp_path / "src", tmp_path / "thesis")
    assert (done.code, "holds no dataset but other files" in done.err or "is not empty" in done.err) == (2, True)
    assert os.listdir(tmp_path / "thesis") == ["chapter1.tex"]


@pytest.mark.parametrize("keep", [None, "seed"])
def test_archives_tables_and_columns(keep: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are unfolded once; what the index has of --keep comes through the plan. Without it, sources are listed
    once."""
    root = tmp_path / "src"
    make_tree(root, generators=("adm",), count=3)
    shutil.make_archive(str(root / "glide" / "glide"), "zip", root, "ADM")
    shutil.make_archive(str(tmp_path / "biggan"), "tar", root / "ADM")
    (root / "BigGAN").mkdir()
    shutil.move(tmp_path / "biggan.tar", root / "BigGAN" / "biggan.tar")
    shutil.rmtree(root / "ADM")
    rng = np.random.default_rng(0)
    rows = [
        {"image": real_jpeg(rng), "split": "val", "label": ("real", "fake")[n % 2], "seed": n, "generator": "sd14"}
        for n in range(9)
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "more.parquet")
    options = {"columns": parse_columns(None, None, keep)}
    pack_here(root, tmp_path / "whole", shard_bytes=20_000, **options)
    listed: list[int] = []

    def scan(*given: Any, **named: Any) -> Any:
        listed.append(1)
        return scan_sources(*given, **named)

    monkeypatch.setattr("shard_tools.pack.scan", scan)
    for part in ("1/2", "2/2"):
        do_part(root, tmp_path / "dst", part, **options)
        unfolded = list((tmp_path / "dst" / ".pack" / "unfolded").iterdir())
        assert len(unfolded) == 1
    assert len(listed) == (1 if keep is None else 3)
    gather_parts(str(tmp_path / "dst"))
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    assert left(tmp_path / "dst") == []


def test_parts_by_ray(
    parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine gets the part's shards; that it writes what this machine would, test_ray.py shows."""
    taken: list[int] = []

    def run(tasks: Iterator[Any], *rest: Any) -> Any:
        chosen = list(tasks)
        taken.extend(task.number for task in chosen)
        return local.run(iter(chosen), *rest)

    monkeypatch.setattr(ray, "run", run)
    for part in ("1/2", "2/2"):
        do_part(parts_source, tmp_path / "dst", part, engine="ray")
    assert sorted(taken) == list(range(len(taken)))
    assert taken[1] == 2
    gather_parts(str(tmp_path / "dst"))
    assert tree_bytes(tmp_path / "dst") == parts_whole
