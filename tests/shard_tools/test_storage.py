"""The local destination: locks that a disk refuses or has no room for, and folders that outlive a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from shard_tools.errors import TargetError
from shard_tools.target import local_storage, lock
from shard_tools.target.local_storage import LocalStorage
from shard_tools.target.lock import locked


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(TargetError, match=r"cannot be locked .*: mount this file system with locks"):
        locked(LocalStorage(str(tmp_path / "dst"))).__enter__()


def test_no_room_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock.os, "write", write)
    with pytest.raises(TargetError, match="there is no room left to write it"):
        locked(LocalStorage(str(tmp_path / "dst"))).__enter__()


def test_every_new_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is on stable storage once all folders above it are; those that were there are left alone."""
    synced: list[Path] = []
    genuine = local_storage.sync_folder

    def sync_folder(folder: Path) -> None:
        synced.append(folder)
        genuine(folder)

    monkeypatch.setattr(local_storage, "sync_folder", sync_folder)
    destination = tmp_path / "new" / "dst"
    with locked(LocalStorage(str(destination))):
        assert synced == [tmp_path, tmp_path / "new", destination]
        synced.clear()
        file: Any = LocalStorage(str(destination)).create("adm/train/x.tar")
        file.write([b"words"])
        file.commit()
        assert synced == [destination, destination / "adm", destination / "adm" / "train"]
        synced.clear()
        LocalStorage(str(destination)).write("adm/train/x.idx", b"words")
        assert synced == [destination / "adm" / "train"]


def test_a_destination_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    with pytest.raises(TargetError, match="cannot be written"):
        LocalStorage(str(tmp_path / "file" / "dst")).write("x", b"words")


def test_one_of_several_creates_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path))
    assert [storage.write_new("a/b", data) for data in (b"first", b"second")] == [True, False]
    assert storage.read("a/b") == b"first"
    link = os.link

    def answer_lost(source: Any, target: Any) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "the request came twice")

    monkeypatch.setattr(os, "link", answer_lost)
    assert storage.write_new("c", b"first")

    def no_links(source: Any, target: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(TargetError, match="hard link"):
        storage.write_new("d", b"first")
    assert set(storage.files()) == {"a/b", "c"}
