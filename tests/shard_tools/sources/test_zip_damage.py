"""Directories of archives with figures that cannot be, and names with the separators of another system."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shard_tools.errors import ToolError
from tests.fixtures.genimage import fake_png
from tests.shard_tools.conftest import index_rows, pack_here

NAME = "train/ai/0_adm_1.PNG"
CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"


def archive(root: Path, names: tuple[str, ...] = (NAME,)) -> Path:
    path = root / "src" / "adm.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, fake_png(np.random.default_rng(number), 16))
    return path


def with_zip64(raw: bytes, field: bytes, *, disk: bool = False) -> bytes:
    """The archive with a ZIP64 field in its first entry: for the size, or for the number of the volume."""
    at = raw.index(CENTRAL)
    entry = bytearray(raw[at:])
    if disk:
        struct.pack_into("<H", entry, 34, 0xFFFF)
    else:
        struct.pack_into("<L", entry, 24, 0xFFFFFFFF)
    (name_length,) = struct.unpack_from("<H", entry, 28)
    extra = struct.pack("<2H", 1, len(field)) + field
    struct.pack_into("<H", entry, 30, len(extra))
    entry[46 + name_length : 46 + name_length] = extra
    end = entry.rindex(END)
    struct.pack_into("<L", entry, end + 12, end)  # the directory's size
    return raw[:at] + bytes(entry)


DAMAGE = {
    "method": lambda raw: patched(raw, CENTRAL, 10, struct.pack("<H", 0xFFFF)),
    "size": lambda raw: with_zip64(raw, struct.pack("<Q", 2**64 - 1)),
    "size of 2^60": lambda raw: with_zip64(raw, struct.pack("<Q", 2**60)),
    "volume": lambda raw: with_zip64(raw, struct.pack("<L", 2**32 - 2), disk=True),
}


def patched(raw: bytes, signature: bytes, at: int, data: bytes) -> bytes:
    at += raw.rindex(signature)
    return raw[:at] + data + raw[at + len(data) :]


@pytest.mark.parametrize("kind", DAMAGE)
def test_figures_that_cannot_be(kind: str, tmp_path: Path) -> None:
    path = archive(tmp_path)
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    with pytest.raises(ToolError, match=r"adm\.zip: the entry of train/ai/0_adm_1\.PNG in its directory is damaged"):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_an_end_record_of_four_thousand_million_volumes(tmp_path: Path) -> None:
    """They are not listed as missing one by one."""
    path = archive(tmp_path)
    raw = path.read_bytes()
    end = raw.rindex(END)
    number = 2**32 - 2
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, number, number, 1, 1, end, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", number, 0, number)
    path.write_bytes(raw[:end] + end64 + locator + raw[end:])
    (path.parent / "adm.z01").write_bytes(raw * 2)
    with pytest.raises(ToolError, match=r"adm\.zip: its end record is damaged"):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_names_written_on_windows(tmp_path: Path) -> None:
    path = archive(tmp_path)
    backward = NAME.replace("/", "\\")
    path.write_bytes(path.read_bytes().replace(NAME.encode(), backward.encode()))
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = index_rows(tmp_path / "dst")
    assert (row["key"], row["source"]) == ("adm_train_fake_0_adm_1", f"adm.zip:{NAME}")


def test_a_locator_that_counts_no_volumes(tmp_path: Path) -> None:
    path = archive(tmp_path)
    raw = path.read_bytes()
    end = raw.rindex(END)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, end, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 0)
    path.write_bytes(raw[:end] + end64 + locator + raw[end:])
    with pytest.raises(ToolError, match=r"adm\.zip: its ZIP64 locator is damaged \(it counts no volumes\)"):
        pack_here(tmp_path / "src", tmp_path / "dst")
