"""Sources that cannot be read in part, or no longer: pipes, huge files, locked folders, dying disks, odd names."""

from __future__ import annotations

import errno
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shard_tools import faults
from shard_tools.errors import SourceError, UnreadableFileError, UnreadableImageError
from shard_tools.faults import Faults
from shard_tools.pack import pack
from shard_tools.readers import Readers
from shard_tools.scan import scan
from shard_tools.shard import write_shard
from shard_tools.sources import folder as folder_source
from shard_tools.sources.base import Location
from shard_tools.sources.folder import FolderReader
from shard_tools.target.local_storage import LocalStorage
from shard_tools.terminal.progress import Silent
from shard_tools.work import PackOptions, plan_work, shard_task
from tests.fixtures.genimage import fake_png, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools, shard_tools_here, tree_bytes
from tests.shard_tools.test_interruptions import Meddler

FAKES = "ADM/train/ai"


def put(root: Path, count: int = 1) -> Path:
    folder = root / FAKES
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}_adm_1.PNG").write_bytes(fake_png(np.random.default_rng(number), 16))
    return folder


def test_a_pipe_does_not_stop_the_packer(tmp_path: Path) -> None:
    folder = put(tmp_path / "src")
    os.mkfifo(folder / "1_adm_1.PNG")
    done = shard_tools("pack", tmp_path / "src", tmp_path / "dst", "--json")
    assert (done.code, done.json["samples"], done.json["quarantined"]) == (0, 1, 1)
    assert "a pipe" in quarantine_rows(tmp_path / "dst")[f"{FAKES}/1_adm_1.PNG"]["reason"]


@pytest.mark.parametrize("name", ["x.arrow", "X.PARQUET", "x.zip"])
def test_a_pipe_by_the_name_of_a_table_or_an_archive(name: str, tmp_path: Path) -> None:
    os.mkfifo(put(tmp_path / "src") / name)
    done = shard_tools("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 2
    assert name in done.err
    assert "download it again" in done.err


def within(seconds: float, work: Callable[[], object]) -> None:
    """Run something that must not hang; a thread that does is left behind."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"


def test_a_file_that_became_a_pipe(tmp_path: Path) -> None:
    """After the listing: reading does not wait for somebody to write to it."""
    pipe = tmp_path / "0_adm_1.PNG"
    os.mkfifo(pipe)
    found: list[Any] = []

    def read() -> None:
        try:
            found.append(FolderReader(str(tmp_path)).read(Location(pipe.name, 100)))
        except UnreadableImageError as error:
            found.append(str(error))

    within(200, read)
    assert "a pipe" in found[0]


@pytest.mark.parametrize("way", [[], ["--crop-ready"], ["--check", "header"]])
def test_a_huge_file_is_not_read(way: list[str], tmp_path: Path) -> None:
    import resource

    folder = put(tmp_path / "src")
    with open(folder / "1_adm_1.PNG", "wb") as file:
        file.truncate(3 << 30)  # sparse

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    done = shard_tools("pack", tmp_path / "src", tmp_path / "dst", "--workers", 1, *way, preexec_fn=limit)
    assert done.code == 0, done.err
    (row,) = quarantine_rows(tmp_path / "dst").values()
    assert row["reason"] == f"the file has {3 << 30} bytes, more than the limit of {1 << 30}"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list anything, so the refusal is made up."""
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    locked = next((tmp_path / "src").rglob("val"))
    genuine = os.scandir

    def scandir(path: str) -> Any:
        if path == str(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return genuine(path)

    monkeypatch.setattr(folder_source.os, "scandir", scandir)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 2
    assert f"{locked} cannot be listed (Permission denied)" in done.err
    assert "--allow-missing-volumes" in done.err
    assert not (tmp_path / "dst").exists()
    pack_here(tmp_path / "src", tmp_path / "dst", allow_missing_volumes=True)
    assert {row["split"] for row in index_rows(tmp_path / "dst")} == {"train"}
    ((source, row),) = quarantine_rows(tmp_path / "dst").items()
    assert (source, row["generator"]) == (str(locked.relative_to(tmp_path / "src")), None)
    assert row["reason"] == "the folder cannot be listed: Permission denied"


class Refused(set[str]):
    """Files that `os.open` refuses to open: root may open anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        super().__init__()
        genuine = os.open

        def refuse(path: Any, *rest: Any, **named: Any) -> int:
            if path in self:
                raise OSError(number, os.strerror(number), path)
            return genuine(path, *rest, **named)

        monkeypatch.setattr(folder_source.os, "open", refuse)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("shard_bytes", [10_000, 1_000_000], ids=["small shards", "one shard"])
def test_a_source_that_becomes_unreadable(
    number: int, shard_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "src", 40)
    pack_here(tmp_path / "src", tmp_path / "whole", shard_bytes=shard_bytes, crop_ready=True)
    refused = Refused(monkeypatch, number)
    options = PackOptions(shard_bytes=shard_bytes, workers=1, crop_ready=True)
    away = Meddler(lambda: refused.update(str(path) for path in folder.iterdir()))
    with pytest.raises(SourceError, match="the source seems to be going away"):
        pack([str(tmp_path / "src")], str(tmp_path / "dst"), options, away)
    assert not (tmp_path / "dst" / "dataset.json").exists()
    refused.clear()
    pack([str(tmp_path / "src")], str(tmp_path / "dst"), options, Silent())
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")


def test_single_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "src", 40)
    refused = Refused(monkeypatch, errno.EIO)
    refused.add(str(folder / "7_adm_1.PNG"))
    done = pack_here(tmp_path / "src", tmp_path / "dst", crop_ready=True)
    assert (done.samples, done.quarantined) == (39, 1)
    assert "unreadable" in quarantine_rows(tmp_path / "dst")[f"{FAKES}/7_adm_1.PNG"]["reason"]


def test_links_that_lead_to_themselves_are_counted(tmp_path: Path) -> None:
    folder = put(tmp_path / "src", 20)
    work = plan_work(scan([str(tmp_path / "src")]), PackOptions())
    for path in folder.iterdir():  # a link to itself is refused to root as well
        path.unlink()
        path.symlink_to(path.name)
    with pytest.raises(SourceError, match="the source seems to be going away"):
        write_shard(
            shard_task(work, 0, "full"),
            Readers(work.listing.containers),
            LocalStorage(str(tmp_path / "dst")),
            lambda *counts: None,
        )


def test_counting_faults() -> None:
    fault = UnreadableFileError("unreadable: Input/output error", "/a/b.png")
    single = Faults(100)
    for number in range(0, 100, 2):
        single.add(number, fault)
    for number in range(faults.RUN + 5):
        single.add(number, UnreadableImageError("truncated"))
    Faults(1).add(0, fault)  # a shard of one file may be a bad file
    run = Faults(100)
    for number in range(3, 3 + faults.RUN - 1):
        run.add(number, fault)
    with pytest.raises(SourceError, match=r"/a/b\.png: unreadable"):
        run.add(3 + faults.RUN - 1, fault)
    whole = Faults(2)
    whole.add(0, fault)
    with pytest.raises(SourceError):
        whole.add(1, fault)


@pytest.mark.parametrize("form", ["files", "archive", "table"])
def test_folder_that_is_not_utf8(form: str, tmp_path: Path) -> None:
    """Its images are packed; what people read of its name has the odd bytes written out."""
    import pyarrow as pa

    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xffc")) / os.fsdecode(b"ADM/\xfe")
    (odd / "train" / "ai").mkdir(parents=True)
    data = fake_png(np.random.default_rng(1), 16)
    if form == "files":
        (odd / "train" / "ai" / "0_adm_1.PNG").write_bytes(data)
    elif form == "archive":
        with zipfile.ZipFile(odd / "adm.zip", "w") as archive:
            archive.writestr("train/ai/0_adm_1.PNG", data)
    else:
        rows = pa.table({"image": [data], "image_path": ["train/ai/0_adm_1.PNG"]})
        with pa.OSFile(os.fsencode(odd / "adm.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
    other = tmp_path / "other"
    make_tree(other, generators=("biggan",), count=1)
    for number, sources in enumerate([[odd.parents[1]], [odd.parents[1], other]]):
        done = shard_tools("pack", *sources, tmp_path / str(number), "--workers", 1, "--json")
        assert done.code == 0, done.err
        (row,) = (row for row in index_rows(tmp_path / str(number)) if row["generator"] == "adm")
        assert row["key"] == "adm_train_fake_0_adm_1"
        assert "ADM/\\xfe" in row["source"].replace("\\udcfe", "\\xfe")
    assert shard_tools("scan", odd.parents[1], "--json").code == 0
