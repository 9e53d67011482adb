"""Which containers a SRC consists of: its plain files, and the archives and tables that lie among them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from shard_tools.addresses import is_object_url
from shard_tools.errors import ToolError
from shard_tools.layout.columns import NO_COLUMNS, Columns
from shard_tools.layout.place import looked_for
from shard_tools.names import TABLE_SUFFIXES, TAR_SUFFIXES
from shard_tools.sources.base import Container, ContainerListing, FolderListing
from shard_tools.sources.folder import FolderContainer
from shard_tools.sources.object_store import ObjectContainer
from shard_tools.sources.split_zip import open_volumes
from shard_tools.sources.volumes import is_archive_name, unfinished, volume_sets

if TYPE_CHECKING:
    from shard_tools.sources.arrow import TableContainer
    from shard_tools.sources.tar_file import TarContainer

_PLAIN = (".png", ".PNG", ".jpg", ".jpeg", ".JPEG", ".JPG", ".webp")


def discover(
    source: str,
    prefix: str = "",
    found: Callable[[int], None] = lambda files: None,
    columns: Columns = NO_COLUMNS,
) -> list[tuple[Container, ContainerListing]]:
    """The containers of a source with what is in them, plain files first.

    `prefix` names the source where there are several; `found` is told of files as they are found. Raises ToolError
    when it is not there.
    """
    if is_object_url(source):
        root, tree = source.rstrip("/"), ObjectContainer(source, prefix)
        return _within(root, prefix, tree, tree.contents(found), found, columns)
    if not os.path.lexists(source):
        raise ToolError(f"{source}: there is no such folder; give the folder that holds {looked_for()}")
    if os.path.isfile(source) and is_archive_name(source):
        return _one_archive(source, prefix, found)
    if os.path.isfile(source) and source.lower().endswith((*TABLE_SUFFIXES, *TAR_SUFFIXES)):
        path = os.path.abspath(source)
        alone = _open(path, prefix or os.path.basename(path), columns)
        found(sum(len(inner.names) for inner in alone.contents().folders))
        return [(alone, alone.contents())]
    if not os.path.isdir(source):
        raise ToolError(f"{source} is not a folder; give the folder that holds it")
    try:
        os.listdir(source)
    except OSError as error:
        raise ToolError(f"{source} cannot be listed: {error.strerror}") from error
    folder = FolderContainer(os.path.abspath(source), prefix)
    return _within(folder.root, prefix, folder, folder.contents(found), found, columns)


def _within(
    root: str,
    prefix: str,
    tree: Container,
    listing: ContainerListing,
    count: Callable[[int], None],
    columns: Columns,
) -> list[tuple[Container, ContainerListing]]:
    """A tree of files, and the archives and tables that lie in it."""
    found: list[tuple[Container, ContainerListing]] = [(tree, listing)]
    if columns.given or columns.keep:
        from shard_tools.sources.sidecars import add_sidecars

        add_sidecars(listing, tree.reader(), columns)
    for folder in listing.folders:
        special = [name for name in folder.names if not name.endswith(_PLAIN)]
        tables = [name for name in special if name.lower().endswith((*TABLE_SUFFIXES, *TAR_SUFFIXES))]
        archives = [name for name in special if is_archive_name(name)]
        listing.incomplete += _downloads("/".join(part for part in (root, folder.path) if part), special)
        if not tables and not archives:
            continue
        bytes_of = dict(zip(folder.names, folder.sizes, strict=True))
        _leave_out(folder, {*tables, *archives})
        where = "/".join(part for part in (root, folder.path) if part)
        within = "/".join(part for part in (prefix, folder.path) if part)
        found += _tables(where, within, tables, count, columns)
        for volumes in volume_sets(archives):
            archive = open_volumes(where, within, volumes, bytes_of)
            count(sum(len(inner.names) for inner in archive.contents().folders))
            found.append((archive, archive.contents()))
    listing.folders = [folder for folder in listing.folders if folder.names]
    return found


def _downloads(where: str, names: list[str]) -> list[str]:
    """Sentences about archives and tables of a folder whose download is not finished."""
    return [
        f"{where}/{name}: the download of {of} is not finished; let it finish, or remove {name} if it is a leftover"
        for name in names
        if (of := unfinished(name)) and (is_archive_name(of) or of.lower().endswith((*TABLE_SUFFIXES, *TAR_SUFFIXES)))
    ]


def _tables(
    where: str, within: str, names: list[str], count: Callable[[int], None], columns: Columns
) -> list[tuple[Container, ContainerListing]]:
    opened: list[tuple[Container, ContainerListing]] = []
    for name in sorted(names):
        table = _open(f"{where}/{name}", f"{within}/{name}" if within else name, columns)
        count(sum(len(inner.names) for inner in table.contents().folders))
        opened.append((table, table.contents()))
    return opened


def _open(path: str, name: str, columns: Columns) -> TableContainer | TarContainer:
    if path.lower().endswith(TAR_SUFFIXES):
        from shard_tools.sources.tar_file import open_tar

        return open_tar(path, name, columns)
    from shard_tools.sources.arrow import open_table

    return open_table(path, name, columns)


def _one_archive(source: str, prefix: str, count: Callable[[int], None]) -> list[tuple[Container, ContainerListing]]:
    folder, name = os.path.split(os.path.abspath(source))
    beside = os.listdir(folder)
    for volumes in volume_sets(beside):
        if name in volumes.names():
            bytes_of = {name: os.path.getsize(os.path.join(folder, name)) for name in volumes.names()}
            archive = open_volumes(folder, "", volumes, bytes_of)
            archive = replace(archive, name=prefix) if prefix else archive
            there = {name.lower() for name in volumes.names()}
            unfinished_parts = [name for name in beside if (unfinished(name) or "").lower() in there]
            archive.contents().incomplete.extend(_downloads(folder, unfinished_parts))
            count(sum(len(inner.names) for inner in archive.contents().folders))
            return [(archive, archive.contents())]
    raise ToolError(f"{source} is not a zip archive or a volume of one")


def _leave_out(folder: FolderListing, names: set[str]) -> None:
    kept = [at for at, name in enumerate(folder.names) if name not in names]
    folder.names[:], folder.sizes[:] = [folder.names[at] for at in kept], [folder.sizes[at] for at in kept]
