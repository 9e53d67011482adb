"""Which containers a SRC consists of: its plain files, and the archives and tables that lie among them."""

from __future__ import annotations

import os

from shard_tools.errors import ToolError
from shard_tools.layout import looked_for
from shard_tools.sources.base import Container, ContainerListing, FolderListing
from shard_tools.sources.folder import FolderContainer
from shard_tools.sources.split_zip import open_volumes
from shard_tools.sources.volumes import is_archive_name, volume_sets

TABLE_SUFFIXES = (".arrow", ".parquet")
_PLAIN = (".png", ".PNG", ".jpg", ".jpeg", ".JPEG", ".JPG", ".webp")


def discover(source: str, prefix: str = "") -> list[tuple[Container, ContainerListing]]:
    """The containers of a source with what is in them, plain files first.

    `prefix` names the source where there are several. Raises ToolError when it is not there.
    """
    if not os.path.lexists(source):
        raise ToolError(f"{source}: there is no such folder; give the folder that holds {looked_for()}")
    if os.path.isfile(source) and is_archive_name(source):
        return _one_archive(source, prefix)
    if not os.path.isdir(source):
        raise ToolError(f"{source} is not a folder; give the folder that holds it")
    try:
        os.listdir(source)
    except OSError as error:
        raise ToolError(f"{source} cannot be listed: {error.strerror}") from error
    root = os.path.abspath(source)
    tree = FolderContainer(root, prefix)
    listing = tree.contents()
    found: list[tuple[Container, ContainerListing]] = [(tree, listing)]
    for folder in listing.folders:
        tables = [name for name in folder.names if name.endswith(TABLE_SUFFIXES)]
        if tables:
            _leave_out(folder, set(tables))
            found += _tables(root, prefix, folder.path, tables)
        archives = [name for name in folder.names if not name.endswith(_PLAIN) and is_archive_name(name)]
        if archives:
            _leave_out(folder, set(archives))
            found += _archives(root, prefix, folder.path, archives)
    listing.folders = [folder for folder in listing.folders if folder.names]
    return found


def _archives(root: str, prefix: str, path: str, names: list[str]) -> list[tuple[Container, ContainerListing]]:
    within = "/".join(part for part in (prefix, path) if part)
    opened = [open_volumes(os.path.join(root, path), within, volumes) for volumes in volume_sets(names)]
    return [(archive, archive.contents()) for archive in opened]


def _tables(root: str, prefix: str, path: str, names: list[str]) -> list[tuple[Container, ContainerListing]]:
    from shard_tools.sources.arrow import open_table

    opened = []
    for name in sorted(names):
        within = "/".join(part for part in (prefix, path, name) if part)
        opened.append(open_table(os.path.join(root, path, name), within))
    return [(table, table.contents()) for table in opened]


def _one_archive(source: str, prefix: str) -> list[tuple[Container, ContainerListing]]:
    folder, name = os.path.split(os.path.abspath(source))
    for volumes in volume_sets(os.listdir(folder)):
        if name in volumes.names():
            archive = open_volumes(folder, prefix, volumes)
            return [(archive, archive.contents())]
    raise ToolError(f"{source} is not a zip archive or a volume of one")


def _leave_out(folder: FolderListing, names: set[str]) -> None:
    kept = [at for at, name in enumerate(folder.names) if name not in names]
    folder.names[:], folder.sizes[:] = [folder.names[at] for at in kept], [folder.sizes[at] for at in kept]
