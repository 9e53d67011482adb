"""What the packer's tests share: running the real command."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def shard_tools(*arguments: object, **options: Any) -> Ran:
    """Run the command in a process of its own, as a user does. `options` are those of subprocess.run."""
    command = [sys.executable, "-m", "shard_tools", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def shard_tools_here(*arguments: object) -> Ran:
    """Run the command within this process: the same, without the time that a process takes to start."""
    from shard_tools.cli import app

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(list(map(str, arguments)))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Ran(code, out.getvalue(), err.getvalue())


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but for `.index.arrow`, a cache that knows the inode of its index."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".index.arrow"]
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def tars(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree_bytes(root).items() if name.endswith((".tar", ".idx"))}


@pytest.fixture(scope="session")
def standard_tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A tree in the standard layout, with what was made. Not to be written to."""
    from tests.fixtures.genimage import make_tree

    root = tmp_path_factory.mktemp("standard") / "GenImage"
    return root, make_tree(root)


@pytest.fixture(scope="session")
def packed(standard_tree: tuple[Path, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The standard tree packed by the command, in several shards a group. Not to be written to."""
    destination = tmp_path_factory.mktemp("packed") / "shards"
    done = shard_tools("pack", standard_tree[0], destination, "--shard-size", "60kB", "--workers", 1)
    assert done.code == 0, done.err
    return destination


def pack_here(sources: Path | list[Path], destination: Path, *maps: str, progress: Any = None, **options: Any) -> Any:
    """Pack within this process: as the command does it, without its start-up time."""
    from shard_tools.layout.mapping import parse_mapping
    from shard_tools.pack import pack
    from shard_tools.terminal.progress import Silent
    from shard_tools.work import PackOptions

    given = {"shard_bytes": 60_000, "workers": 1, "mappings": tuple(map(parse_mapping, maps)), **options}
    paths = sources if isinstance(sources, list) else [sources]
    return pack([str(p) for p in paths], str(destination), PackOptions(**given), progress or Silent())


def index_rows(destination: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(destination / "index.parquet").to_pylist()
    return rows


def quarantine_rows(destination: Path) -> dict[str, dict[str, Any]]:
    """Quarantined source -> its row."""
    import pyarrow.parquet as pq

    return {row["source"]: row for row in pq.read_table(destination / "quarantine.parquet").to_pylist()}


@pytest.fixture(scope="session")
def parts_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators, with a file that does not decode and one that nothing says the label of. Not to be written to."""
    from tests.fixtures.genimage import make_tree

    root = tmp_path_factory.mktemp("parts") / "src"
    make_tree(root, generators=("adm", "sd14"), count=4)
    bad = min(root.rglob("*.png"))
    bad.write_bytes(bad.read_bytes()[:200])
    (root / "notes").mkdir()
    (root / "notes" / "x.png").write_bytes(b"no one knows what this is")
    return root


@pytest.fixture(scope="session")
def parts_whole(parts_source: Path) -> dict[str, bytes]:
    """What one run packs of it, in shards of 20 kB."""
    whole = parts_source.parent / "whole"
    pack_here(parts_source, whole, shard_bytes=20_000)
    assert len(quarantine_rows(whole)) == 2
    return tree_bytes(whole)


@pytest.fixture(scope="session")
def parts_begun(parts_source: Path) -> Path:
    """A destination of which part 2 of 3 is done. Not to be written to."""
    from tests.shard_tools.packing.in_parts import do_part

    do_part(parts_source, parts_source.parent / "begun", "2/3")
    return parts_source.parent / "begun"
