"""`shard-tools export`: the images of a finished dataset as files, under the names that they had."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genimage_stream.remedies import printable
from genimage_stream.resources import cores
from shard_tools import tar
from shard_tools.derived.where import condition
from shard_tools.errors import TargetError, ToolError
from shard_tools.finished import explained, open_finished
from shard_tools.names import IMAGE_SUFFIXES
from shard_tools.sources.volumes import is_archive_name
from shard_tools.target.local_storage import LocalStorage, open_storage
from shard_tools.terminal.progress import Progress


@dataclass
class Exported:
    folder: str
    files: int = 0
    there: int = 0  # of these, how many were there already
    size_bytes: int = 0
    notes: list[str] = field(default_factory=list)


def export(destination: str, folder: str, where: str | None, progress: Progress) -> Exported:
    """Write the files of `destination`, or those that meet `where`, to `folder`. A file that is there with the same
    bytes is left alone. Raises ToolError."""
    dataset = open_finished(destination)
    access = dataset.access
    target = open_storage(folder)
    if not isinstance(target, LocalStorage):
        raise ToolError(f"{folder}: files are written to a local folder: give one")
    crop_ready = access.info.crop_ready
    names = ["key", "shard", "offset", "size", "format", "sha256", "source"] + ["stored_sha256"] * crop_ready
    with explained():
        chosen = dataset if where is None else dataset.select(where=condition(where, access.columns.names))
        rows = chosen.table(names).to_pylist()
    if not rows:
        raise ToolError(f"--where {where!r}: no sample of {dataset.path} meets it")
    paths = [_path_of(row, destination) for row in rows]
    _all_different(paths)
    result = Exported(target.url, len(rows), size_bytes=sum(row["size"] for row in rows))
    if crop_ready:
        result.notes.append(
            f"{destination} is crop-ready: the files are losslessly recoded, with the originals' pixels and other bytes"
        )
    progress.begin("exporting", len(rows), result.size_bytes)
    try:
        with explained(), ThreadPoolExecutor(cores()) as pool:

            def one(pair: tuple[dict[str, Any], str]) -> int:
                return _write(access.store, target, *pair, progress)

            result.there = sum(pool.map(one, zip(rows, paths, strict=True)))
    finally:
        progress.end()
    return result


def _path_of(row: dict[str, Any], destination: str) -> str:
    """The path of a sample's file within the folder. A member of an archive is where extracting it there puts it."""
    source: str = row["source"]
    if not source:
        raise ToolError(f"{destination}: {row['key']} has no source in the index, so its name is not known")
    outer, colon, member = source.partition(":")
    if colon:
        above = outer.rpartition("/")[0]
        # Rows of tables have names that other tables have, too, so these become folders.
        base = above if is_archive_name(outer.rpartition("/")[2]) else outer.rpartition(".")[0] or outer
        source = f"{base}/{member}" if base else member
    if not source.lower().endswith(IMAGE_SUFFIXES):
        source += "." + tar.suffix_of(row["format"])
    parts = source.split("/")
    if source.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in source:
        raise ToolError(
            f"{destination}: the index says that {row['key']} was {printable(source)!r}, which is no path within a "
            "folder: do not use this dataset unless you know who changed its index"
        )
    return source


def _all_different(paths: Iterable[str]) -> None:
    again = sorted(path for path, n in Counter(paths).items() if n > 1)
    if again:
        raise ToolError(
            f"{len(again):,} names belong to several files, e.g. {again[0]}, which were in different archives: export "
            "them to folders of their own by --where"
        )


def _write(store: Any, target: LocalStorage, row: dict[str, Any], path: str, progress: Progress) -> int:
    """1 when the file is there already. Raises TargetError for another one of its name."""
    data = store.read_range(row["shard"], row["offset"], row["size"])
    digest = row.get("stored_sha256") or row["sha256"]
    if hashlib.sha256(data).hexdigest() != digest:
        raise TargetError(
            f"{store.name}/{row['shard']}: {row['key']}: the image's bytes have changed (sha256 differs): "
            "`shard-tools verify` lists what is damaged"
        )
    place = Path(target.url, path)
    if place.is_symlink() or place.exists():
        if place.is_file() and not place.is_symlink() and hashlib.sha256(place.read_bytes()).hexdigest() == digest:
            progress.advance(1, row["size"], 0)
            return 1
        raise TargetError(f"{place} is there and is another file: choose an empty folder")
    target.write(path, bytes(data), durable=False)
    progress.advance(1, row["size"], 0)
    return 0
