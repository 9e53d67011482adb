"""Opening a dataset: whether it is there and finished, its dataset.json, its index. The one way for readers and tools.

`open_dataset` is for users. Tools that have to look at a damaged dataset take the steps one by one: `open_store` (in
storage/opening.py), `read_info`, `IndexColumns`.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genimage_stream import schema
from genimage_stream.dataset.access import Access, Parts
from genimage_stream.dataset.columns import IndexColumns
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.info import DatasetInfo, parse_info
from genimage_stream.dataset.joined import JoinedStore, in_order, joined_info
from genimage_stream.remedies import no_dataset
from genimage_stream.storage.peers import checked
from genimage_stream.storage.store_at import open_store

if TYPE_CHECKING:
    from genimage_stream.storage.store import Store


def open_dataset(
    path: str | Path | Sequence[str | Path],
    *,
    storage_options: dict[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | float | str = "50GB",
    peers: Sequence[str] = (),
) -> Dataset:
    """Open a packed dataset by its folder or its `s3://`, `gs://`, `http(s)://` address. Reads no shard.

    Several are one dataset, in whatever order they are given; their indexes are read as a whole. A sample that two of
    them have is taken once. Raises ValueError when samples of one key have different bytes.

    `storage_options` go to the object store (see docs/loading.md). `cache_dir`: a folder on a local disk where shards
    of an object store are kept, `cache_size` bytes at most over all datasets and processes that use it. `peers`:
    addresses at which other nodes show their caches (`genimage-stream cache serve`), which are asked first. Raises
    FileNotFoundError when there is no finished dataset, ValueError when it is damaged or of another format.
    """
    if peers:
        if cache_dir is None:
            raise ValueError("peers= needs cache_dir=: what other nodes have goes into a cache of this one")
        storage_options = {**(storage_options or {}), "peers": checked(peers)}
    if isinstance(path, (str, Path)):
        return Dataset(_open(path, storage_options, cache_dir, cache_size))
    if not path:
        raise ValueError("open_dataset([]): give at least one folder or address")
    return Dataset(_joined([_open(one, storage_options, cache_dir, cache_size) for one in path]))


def _joined(parts: list[Access]) -> Access:
    if len(parts) == 1:
        return parts[0]
    parts = in_order(parts)
    store = JoinedStore(parts)
    columns = IndexColumns(store)
    return Access(
        store,
        joined_info(parts, columns.num_rows),
        columns,
        partial(_reopen, [one.reopen for one in parts]),
        parts=Parts([one.store.name for one in parts], store.part_of),
    )


def _reopen(parts: list[Callable[[], Access]]) -> Access:
    return _joined([reopen() for reopen in parts])


def _open(
    path: str | Path, options: dict[str, Any] | None, cache_dir: str | Path | None, cache_size: int | float | str
) -> Access:
    store = open_store(path, options, cache_dir, cache_size)
    place = str(path)  # with the credentials that may be in an address
    if store.local_path(schema.DATASET_FILE) is not None:
        cache_dir = None  # not used there; the warning comes once
        place = store.name
    reopen = partial(_open, place, options, cache_dir, cache_size)
    info, columns = read_info(store), open_index(store)
    if info.samples not in (None, columns.num_rows):
        info = read_info(store)  # which a packer may just have replaced
    if info.samples not in (None, columns.num_rows) and not _being_replaced(store, info.samples, columns.num_rows):
        raise ValueError(
            f"{columns.name} has {columns.num_rows:,} rows and {schema.DATASET_FILE} says {info.samples:,}: these are "
            "different datasets; restore both from one copy, or pack again"
        )
    return Access(store, info, columns, reopen)


def read_info(store: Store) -> DatasetInfo:
    """The dataset.json of a finished dataset.

    Raises FileNotFoundError when there is no dataset, or an unfinished one; ValueError for a damaged file.
    """
    try:
        text = store.read(schema.DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(_absence(store)) from None
    return parse_info(text, f"{store.name}/{schema.DATASET_FILE}")


def _being_replaced(store: Store, before: int | None, after: int) -> bool:
    """Whether a packer is at the point where a grown index is there and its dataset.json not yet, or was killed there:
    then the index is the one to go by."""
    try:
        plan = json.loads(store.read(schema.PLAN_FILE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(plan, dict) and plan.get("samples") == [before, after]


def open_index(store: Store) -> IndexColumns:
    """The index. Raises FileNotFoundError when it is missing, ValueError for a file that is not one."""
    try:
        return IndexColumns(store)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{store.name} is not finished: {schema.INDEX_FILE} is missing. Run the same `shard-tools pack` again."
        ) from None


def _has_tars(folder: Path) -> bool:
    """Whether there are tars in a folder or those in it, which is where other WebDatasets have theirs."""
    return any(path for pattern in ("*.tar", "*/*.tar") for path in folder.glob(pattern))


def _absence(store: Store) -> str:
    """Why there is no dataset.json, the last file that the packer writes, and what to do."""
    local = store.local_path(schema.DATASET_FILE)
    if local is not None and os.path.isfile(store.name):
        return f"{store.name} is a file: give the folder that `shard-tools pack` wrote"
    if local is not None and not os.path.isdir(store.name):
        return f"{store.name}: there is no such folder; give the folder that `shard-tools pack` wrote"
    try:
        store.size(schema.PLAN_FILE)
        begun = True
    except OSError:
        begun = False
    for above in Path(store.name).absolute().parents[:2] if local is not None and not begun else ():
        if (above / schema.DATASET_FILE).is_file() and (above / schema.INDEX_FILE).is_file():
            return f"{store.name} is a part of the dataset {above}: give that folder, and select from it"
    if local is not None and not begun and _has_tars(Path(store.name)):
        return (
            f"{store.name} has tars but no index, so `shard-tools pack` did not write it: `shard-tools pack "
            f"{shlex.quote(store.name)} DST` makes a dataset of them at DST"
        )
    return no_dataset(store.name, begun=begun, file=schema.DATASET_FILE)
