"""Tars whose headers lie: sizes below zero or beyond memory, chains, sparse files; and tars that unfold to any size."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shard_tools.errors import TargetError
from shard_tools.sources.unfold import need_room
from tests.fixtures.genimage import make_tree
from tests.fixtures.shards import picture
from tests.shard_tools.conftest import shard_tools, shard_tools_here
from tests.shard_tools.test_interruptions import small_disk

END = bytes(2 * 512)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, field: bytes | None = None) -> bytes:
    """`field`: the twelve bytes of the size, in place of those that say it."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if field is not None:
        block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def records(**named: str) -> bytes:
    """A PAX header before a member."""
    body = b""
    for name, value in named.items():
        line = f" {name.replace('_', '.')}={value}\n".encode()
        size = next(n for n in range(len(line), len(line) + 9) if n == len(line) + len(str(n)))
        body += b"%d%s" % (size, line)
    return header("pax", len(body), tarfile.XHDTYPE) + padded(body)


def png(number: int) -> bytes:
    to = io.BytesIO()
    Image.fromarray(picture(number, 20, 20)).save(to, "PNG")
    return to.getvalue()


def member(label: str, number: int) -> bytes:
    data = png(number)
    return header(f"sd14/train/{label}/{number}.png", len(data)) + padded(data)


LAST = member("ai", 9)
# The map of a sparse file, as GNU tar writes it into a PAX record: all of the data is from byte 0 on.
MAP = f"0,{len(png(9))}"
TARS = {
    "a size below zero, to the same header again": records(size="-1536") + LAST,
    "a size below zero, into the middle": records(size="-1024") + LAST,
    "a size below zero by 256": header("sd14/train/ai/9.png", 0, field=b"\xff" * 10 + b"\xfe\x00"),
    "a size of a thousand digits": records(size="9" * 1000) + LAST,
    "a PAX header of 7 GiB": header("pax", 7 << 30, tarfile.XHDTYPE),
    "a name of 7 GiB": header("name", 7 << 30, tarfile.GNUTYPE_LONGNAME),
    "a chain of PAX headers": records(a="b") * 2000 + LAST,
    "a chain of names": (header("name", 2, tarfile.GNUTYPE_LONGNAME) + padded(b"a\0")) * 2000 + LAST,
    "a sparse file": records(GNU_sparse_map=MAP, GNU_sparse_size="90000") + LAST,
    "a sparse file below zero": records(GNU_sparse_map="0,-5", GNU_sparse_size="-5") + LAST,
}


@pytest.mark.parametrize("kind", [kind for kind in TARS if "below zero" in kind])
def test_newer_pythons_notice_sizes_below_zero(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13.6, 3.11.14 and others, behind the end of the member, where what follows looks like the tar's end."""
    library: Any = tarfile
    blocks = library.TarInfo._block

    def _block(self: tarfile.TarInfo, count: int) -> Any:
        if count < 0:
            raise library.InvalidHeaderError("invalid offset")
        return blocks(self, count)

    monkeypatch.setattr(tarfile.TarInfo, "_block", _block)
    test_the_tar_is_named_and_nothing_is_packed(kind, tmp_path)


@pytest.mark.parametrize("kind", TARS)
def test_the_tar_is_named_and_nothing_is_packed(kind: str, tmp_path: Path) -> None:
    sound = member("ai", 1) + member("nature", 2)
    (tmp_path / "source").mkdir()
    tar = tmp_path / "source" / "images.tar"
    tar.write_bytes(sound + TARS[kind] + END)
    done = shard_tools_here("pack", tmp_path / "source", tmp_path / "dst")
    assert done.code == 2, done.err
    assert f"{tar}" in done.err
    assert not (tmp_path / "dst" / "index.parquet").exists()


ZEROS = 12_000_000  # bytes, in 12 kB of the tar


def bomb(folder: Path, *, first: bool) -> Path:
    """A tar with images, and a file of zeros before or behind them."""
    make_tree(folder / "tree", generators=("adm",), count=1)
    (folder / "src").mkdir()
    zeros = tarfile.TarInfo("zeros.bin")
    zeros.size = ZEROS
    with tarfile.open(folder / "src" / "all.tar.gz", "w:gz") as tar:
        if first:
            tar.addfile(zeros, io.BytesIO(bytes(ZEROS)))
        tar.add(folder / "tree", ".")
        if not first:
            tar.addfile(zeros, io.BytesIO(bytes(ZEROS)))
    return folder / "src"


def test_what_is_behind_the_images_is_not_written(tmp_path: Path) -> None:
    source = bomb(tmp_path, first=False)
    assert shard_tools_here("plan", source, tmp_path / "dst").code == 0
    (unfolded,) = (tmp_path / "dst").glob(".pack/unfolded/*")
    assert unfolded.stat().st_size < 1_000_000
    assert shard_tools_here("pack", source, tmp_path / "dst", "--part", "1/1").code == 0
    assert shard_tools_here("gather", tmp_path / "dst").code == 0
    assert shard_tools_here("verify", tmp_path / "dst").code == 0


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    source = bomb(tmp_path, first=True)
    with small_disk(tmp_path / "disk", "4m"):
        done = shard_tools("pack", source, tmp_path / "disk" / "dst")
        assert done.code == 2
        assert "unfold to 12 MB" in done.err
        assert not list((tmp_path / "disk").rglob("*.part"))
    with pytest.raises(TargetError, match="unfold to 1,000,000,000 MB"):
        need_room(str(tmp_path), 10**15)
