"""`genimage-stream cache`: a warm cache answers a training by itself; what is in use is not cleared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import genimage_stream as gs
from genimage_stream.cli import app
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.storage.test_remote import Behaviour, web_server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6, per_shard=6)


@pytest.fixture
def web(root: Path) -> Iterator[tuple[str, Behaviour]]:
    with web_server(root) as found:
        yield found


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["cache", *map(str, arguments)])


def test_a_warm_cache_needs_the_server_no_more(web: tuple[str, Behaviour], root: Path, tmp_path: Path) -> None:
    address, behaviour = web
    warmed = run("warm", address, "--cache-dir", tmp_path)
    assert warmed.exit_code == 0, warmed.output
    names = sorted(path.name for path in root.rglob("*.tar"))
    assert sorted(path.name for path in tmp_path.rglob("*.tar")) == names
    asked = behaviour.asked
    assert sum(len(batch) for batch in gs.Loader(gs.open_dataset(address, cache_dir=tmp_path), 8, crop=16)) == len(
        gs.open_dataset(root)
    )
    again = run("warm", address, "--cache-dir", tmp_path)
    assert (again.exit_code, behaviour.asked) == (0, asked)
    (shown,) = json.loads(run("status", "--cache-dir", tmp_path, "--json").stdout)["datasets"]
    assert shown["address"] == address
    assert (shown["shards"], shown["unfinished"]) == (len(names), 0)
    assert shown["size_bytes"] == sum(path.stat().st_size for path in root.rglob("*.tar"))
    assert address in run("status", "--cache-dir", tmp_path).output


def test_a_selection_is_warmed_alone(web: tuple[str, Behaviour], tmp_path: Path) -> None:
    assert run("warm", web[0], "--cache-dir", tmp_path, "--splits", "val").exit_code == 0
    assert {path.parent.name for path in tmp_path.rglob("*.tar")} == {"val"}


def test_too_little_room_is_told(web: tuple[str, Behaviour], tmp_path: Path) -> None:
    result = run("warm", web[0], "--cache-dir", tmp_path, "--cache-size", "60kB")
    assert result.exit_code == 1
    assert "there is no room for all" in result.output
    assert "--cache-size 60kB" in result.output


def test_what_is_in_use_is_not_cleared(web: tuple[str, Behaviour], tmp_path: Path) -> None:
    run("warm", web[0], "--cache-dir", tmp_path)
    shards = sorted(tmp_path.rglob("*.tar"))
    with shards[0].open("rb") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH)
        cleared = run("clear", "--cache-dir", tmp_path)
    assert cleared.exit_code == 0
    assert f"{len(shards) - 1} shards removed" in cleared.output
    assert "1 are in use and stay" in cleared.output
    assert sorted(tmp_path.rglob("*.tar")) == shards[:1]


def test_one_dataset_is_cleared_by_its_address(web: tuple[str, Behaviour], tmp_path: Path) -> None:
    run("warm", web[0], "--cache-dir", tmp_path)
    assert " 0 shards removed" in run("clear", "http://elsewhere/shards", "--cache-dir", tmp_path).output
    assert run("clear", f"{web[0]}/", "--cache-dir", tmp_path).exit_code == 0
    assert not list(tmp_path.rglob("*.tar"))


def test_wrong_folders_are_told(root: Path, tmp_path: Path) -> None:
    local = run("warm", root, "--cache-dir", tmp_path)
    assert local.exit_code == 2
    assert "is on a local disk" in local.output
    missing = run("status", "--cache-dir", tmp_path / "none")
    assert missing.exit_code == 2
    assert "there is no folder" in missing.output
