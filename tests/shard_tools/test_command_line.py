"""The command as people and programs meet it: wrong usage, closed and full outputs, narrow terminals."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from shard_tools.verify import verify
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import shard_tools, shard_tools_here, tree_bytes

COMMAND = [sys.executable, "-m", "shard_tools"]
AS_PACKED = ("--shard-size", "60kB")  # the fixture `packed`


@pytest.fixture(scope="module")
def source(standard_tree: tuple[Path, list[Any]]) -> Path:
    return standard_tree[0]


def shell(words: str, *arguments: object) -> int:
    """The exit code of a shell's line in which "$@" is the command with its arguments."""
    done = subprocess.run(["bash", "-c", words, "bash", *COMMAND, *map(str, arguments)], timeout=250, check=False)
    return done.returncode


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pack",), "Missing argument"),
        (("pack", "a", "b", "--seed", "x"), "--seed"),
        (("pack", "a", "b", "--workers", "-1"), "--workers"),
        (("scan", "a", "--nothing"), "--nothing"),
        (("verify", "a", "b"), "unexpected extra argument"),
        (("pack", "a"), "at least one SRC and then DST"),
        (("pack", "a", ""), "SRC... DST is empty"),
        (("scan", "a", "--generators", ","), "--generators: name at least one"),
        (("pack", "a", "b", "--shard-size", "9" * 400), "--shard-size"),
    ],
)
def test_wrong_usage_is_one_json_object_too(arguments: tuple[str, ...], says: str) -> None:
    done = shard_tools(*arguments, "--json")
    assert done.code == 2
    assert says in done.json["error"]
    assert says in done.err


def test_version_and_short_help() -> None:
    assert shard_tools("--version").out == f"shard-tools {metadata.version('genimage-stream')}\n"
    listed = [line.split()[0] for line in shard_tools("-h").out.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == ["scan", "pack", "plan", "gather", "verify", "info", "report", "drop", "subset", "export"]


def test_a_generator_that_is_not_there(source: Path, tmp_path: Path) -> None:
    done = shard_tools_here("pack", source, tmp_path / "dst", "--generators", "adm,midjourny")
    assert done.code == 2
    assert "--generators midjourny: there is no such generator here; there are: adm" in done.err
    make_tree(tmp_path / "src", generators=("adm", "glide"), count=1)
    listed = shard_tools_here("scan", tmp_path / "src", "--generators", "adm,wukong", "--json").json
    assert listed["notes"] == ["--generators wukong: there is none of it here"]
    assert "wukong" in listed["missing_generators"]
    assert "glide" not in listed["missing_generators"], "it is left out, not missing"
    done = shard_tools_here("scan", source, "--generators", "adm", "--splits", "train", "--json")
    assert {group["generator"] for group in done.json["groups"]} == {"adm"}


def test_nobody_reads_the_output(packed: Path) -> None:
    assert shell('set -o pipefail; "$@" 2>/dev/null | true', "verify", packed, "--json") in (0, 141)
    assert shell('"$@" >/dev/full', "info", packed) == 2
    assert shell('"$@" >/dev/full 2>&1', "verify", packed) == 2
    assert shell('"$@" >/dev/full', "--help") == 2


def test_a_fault_of_the_program_is_no_finding(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 says that problems were found."""
    monkeypatch.setattr("shard_tools.info.dataset_info", lambda path: 1 // 0)
    done = shard_tools_here("info", packed, "--json")
    assert done.code == 70
    assert "internal error: ZeroDivisionError" in done.json["error"]
    assert "Traceback" in done.err


@pytest.mark.parametrize("words", ['"$@" 2>&-', '"$@" 2>/dev/full', '"$@" 2>&1 >/dev/null | true', '"$@" >&-'])
def test_packing_goes_on_when_nobody_listens(words: str, source: Path, packed: Path, tmp_path: Path) -> None:
    assert shell(f"set -o pipefail; {words}", "pack", source, tmp_path / "dst", *AS_PACKED) == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)


def test_a_destination_whose_path_is_not_utf_8(source: Path, packed: Path, tmp_path: Path) -> None:
    """Arrow would not find the index there again."""
    strange = os.fsencode(tmp_path) + b"/o\xff"
    for command in (["pack", source, strange], ["verify", strange], ["info", strange]):
        if command[0] == "info":
            shutil.copytree(os.fsencode(packed), strange)
        done = subprocess.run([*COMMAND, *command], capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 2
        assert "not UTF-8" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_damaged_shard_is_fixed_as_verify_says(source: Path, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    shard = min((tmp_path / "dst").rglob("*.tar"))
    raw = bytearray(shard.read_bytes())
    raw[700] ^= 1
    shard.write_bytes(raw)
    done = shard_tools_here("verify", tmp_path / "dst")
    assert done.code == 1
    assert "remove the damaged files (a shard with its .idx) and run the same `shard-tools pack` again" in done.out
    shard.unlink()
    shard.with_suffix(".idx").unlink()
    assert shard_tools_here("pack", source, tmp_path / "dst", *AS_PACKED).code == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)


def test_a_page_does_not_go_into_the_dataset(packed: Path) -> None:
    done = shard_tools_here("report", packed, "--html", packed / "page.html")
    assert done.code == 2
    assert "lies within the dataset" in done.err


def in_terminal(columns: int, *arguments: object) -> str:
    """What a terminal of that many columns is sent."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **size}
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 1 << 16)
            except OSError:  # Linux: the other end is closed
                break
            if not more:
                break
            shown += more
        process.wait(250)
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("arguments", [(), ("--seed", "1"), ("--generators", "nobody")])
def test_a_terminal_has_its_cursor_back(arguments: tuple[str, ...], source: Path, packed: Path, tmp_path: Path) -> None:
    """Also where packing ends before it has begun."""
    shutil.copytree(packed, tmp_path / "dst")
    shown = in_terminal(100, "pack", source, tmp_path / "dst", *AS_PACKED, *arguments)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0
    assert "shard-tools: " in shown or "nothing to do" in shown


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_figure_is_cut_in_a_narrow_terminal(columns: int, packed: Path) -> None:
    shown = in_terminal(columns, "info", packed)
    assert "…" not in shown
    assert "162,000" in shown
    assert ("sides" in shown) == (columns == 200)


def test_json_of_an_error_is_what_standard_output_holds(tmp_path: Path) -> None:
    done = shard_tools("info", tmp_path / "nowhere", "--json")
    assert done.code == 2
    assert list(json.loads(done.out)) == ["error"]


def test_verify_and_pack_count_the_same_bytes(packed: Path, source: Path) -> None:
    from shard_tools.terminal.progress import Silent

    found = verify(str(packed), Silent())
    assert found.size_bytes == sum(path.stat().st_size for path in packed.rglob("*.tar"))
