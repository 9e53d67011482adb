"""Names of files, members and columns that are commands to a terminal, forged lines, or markup: shown, never obeyed."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genimage_stream.command_line import json_text
from genimage_stream.page.html import text
from genimage_stream.remedies import printable
from tests.fixtures.genimage import fake_png
from tests.shard_tools.conftest import index_rows, quarantine_rows, shard_tools_here

NAMES = [
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[31mx",
    "a\nproblem: everything is lost",
    "a\r\x1b[Kall is well",
    "\x9b31mx",
    "\u202egnp.exe",
    "a\u2028b",
    "[/red] [bold]x[/]",
    "[link=http://x]y[/link]",
    "<script>alert(1)</script>",
    "\x7f\x08\x08",
]
COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def image(seed: int) -> bytes:
    return fake_png(np.random.default_rng(seed), 8)


def sound(said: str) -> None:
    assert not COMMANDS.search(said), ascii(said)
    assert not any(line.startswith(("problem: everything", "all is well")) for line in said.splitlines())


def put(root: Path, where: str, name: str) -> None:
    """An image and a broken one whose path has the name at one place."""
    safe = name.replace("/", "\u2215")
    for number, data in enumerate((image(1), b"broken")):
        if where == "zip member":
            root.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(root / "adm.zip", "a") as archive:
                archive.writestr(f"train/ai/{safe}/{number}_{safe}.png", data)
        elif where == "table":
            root.mkdir(parents=True, exist_ok=True)
            rows = pa.table({"image": [data], "image_path": [f"adm/train/ai/{name}{number}.png"], name: ["x"]})
            pq.write_table(rows, root / f"{number}{safe}.parquet")
        else:
            folders = {"file": "adm/train/ai", "folder": f"adm/train/ai/{safe}", "generator": f"{safe}/train/ai"}[where]
            (root / folders).mkdir(parents=True, exist_ok=True)
            (root / folders / (f"{safe}{number}.png" if where == "file" else f"{number}.png")).write_bytes(data)
    if where == "file":
        (root / "adm/train/ai" / f"{safe}.txt{safe}").write_bytes(b"")
        (root / "odd").mkdir()
        (root / "odd" / f"{safe}.png").write_bytes(image(2))
        (root / f"{safe}.zip").write_bytes(b"no archive")


@pytest.mark.parametrize("where", ["file", "folder", "generator", "zip member", "table"])
@pytest.mark.parametrize("name", NAMES)
def test_names_in_sources(name: str, where: str, tmp_path: Path) -> None:
    put(tmp_path / "src", where, name)
    for command in (["scan", tmp_path / "src"], ["scan", tmp_path / "src", "--json"]):
        done = shard_tools_here(*command)
        assert "internal error" not in done.err, done.err
        sound(done.out + done.err)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--allow-missing-volumes", "--workers", 1)
    assert done.code in (0, 1), done.err
    sound(done.out + done.err)
    for command in (["info"], ["info", "--json"], ["verify"], ["verify", "--json"], ["info", "--quarantine"]):
        done = shard_tools_here(*command, tmp_path / "dst")
        assert done.code == 0, (command, done.out, done.err)
        sound(done.out + done.err)
    if where == "file":  # one page is enough: they are all made by the same functions
        assert shard_tools_here("report", tmp_path / "dst", "--html", tmp_path / "x.html").code == 0
        page = (tmp_path / "x.html").read_text()
        assert not COMMANDS.search(page.replace("\t", " ")), ascii(page)
        assert "<script>alert(1)" not in page
    for row in [*index_rows(tmp_path / "dst"), *quarantine_rows(tmp_path / "dst").values()]:
        sound(row["source"])


def test_what_is_escaped() -> None:
    plain = "photo 1.png, 写真　日本.png, naïve.png, 👩‍🚀.png"
    assert printable(plain) == plain
    assert printable("a\nb\x1b\u202e\udcff") == "a\\nb\\x1b\\u202e\\udcff".replace("\\n", "\\x0a")
    assert text("<b>\x1b") == "&lt;b&gt;\\x1b"
    assert json.loads(json_text({"a\x9b": "\u202e\x1b\nb"})) == {"a\x9b": "\u202e\x1b\nb"}
    sound(json_text({"a\x9b": "\u202e\x1b"}))
