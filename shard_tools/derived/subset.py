"""`shard-tools subset`: a smaller dataset out of a finished one. Its samples are copied as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.schema import kept_column
from genimage_stream.storage.store_at import open_store
from shard_tools import state
from shard_tools.derived.where import condition
from shard_tools.errors import SourceError, TargetError, ToolError
from shard_tools.finished import explained, open_finished
from shard_tools.growth.held import Held
from shard_tools.inspect import Check
from shard_tools.layout.columns import NO_COLUMNS
from shard_tools.pack import PackSummary, apart, pack_work
from shard_tools.scan import Group, Listing
from shard_tools.sources.base import Location
from shard_tools.target.local_storage import open_storage
from shard_tools.terminal.progress import Progress
from shard_tools.work import PackOptions, plan_packed

_SOUND: dict[str, Callable[[Any], bool]] = {
    "shard_size": lambda value: type(value) is int and value > 0,
    "seed": lambda value: type(value) is int and 0 <= value < 1 << 64,
    "check": lambda value: value in get_args(Check),
    "crop_ready": lambda value: isinstance(value, bool),
    "png_level": lambda value: value is None or (type(value) is int and 0 <= value <= 9),
    "keep": lambda value: value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value)),
}


def subset(destination: str, out: str, where: str, workers: int, progress: Progress) -> PackSummary:
    """Write the samples of `destination` that meet `where` as the dataset `out`. Raises ToolError."""
    opened = open_finished(destination)
    info = opened.access.info
    names = opened.access.columns.names
    with explained():
        rows = opened.select(where=condition(where, names)).table(names)
    if not len(rows):
        raise ToolError(f"--where {where!r}: no sample of {opened.path} meets it")
    storage = open_storage(out)
    apart([destination], storage)
    stored = info.fields["options"]
    for name, sound in _SOUND.items():
        if not sound(stored.get(name)):
            raise TargetError(f"{info.name} is damaged (options.{name}): restore it from a copy, or pack anew")
    options = PackOptions(
        shard_bytes=stored["shard_size"],
        seed=stored["seed"],
        workers=workers,
        check=stored["check"],
        crop_ready=stored["crop_ready"],
        png_level=stored.get("png_level"),
        license=info.fields.get("license"),
        columns=replace(NO_COLUMNS, keep=tuple(stored.get("keep") or ())),
    )
    # In the order of their keys, as the files of a source are planned.
    rows = rows.take(pc.sort_indices(rows["key"].combine_chunks()))
    work = plan_packed(_listing(rows, destination), rows, options)
    if state.begin(storage, work.plan, len(rows)) == "finished":
        held = Held.read(storage)
        if held is None or held.fields["plan_digest"] != work.plan.digest:
            raise TargetError(f"{storage.url} holds another dataset: choose another place for the subset")
    return pack_work(storage, work, options, progress)


@dataclass(frozen=True)
class Shards:
    """The shards of a dataset as a container of files: a location has the path of a shard, and the image's offset."""

    dataset: str
    name: str = ""
    prefix: str = ""
    folders: tuple[str, ...] = ()
    sequential: None = None

    def reader(self) -> ShardsReader:
        return ShardsReader(self.dataset)


class ShardsReader:
    def __init__(self, dataset: str) -> None:
        self._store = open_store(dataset)

    def read(self, where: Location) -> bytes:
        try:
            return self._store.read_range(where.path, where.offset, where.size)
        except OSError as error:
            raise SourceError(f"{self._store.name}/{where.path} cannot be read: {error}") from error

    def close(self) -> None:
        pass


def _listing(rows: pa.Table, dataset: str) -> Listing:
    words = [rows[name].combine_chunks().cast(pa.string()).to_pylist() for name in ("generator", "split", "label")]
    groups = [Group(0, "", *names) for names in sorted(set(zip(*words, strict=True)))]
    number = {(g.generator, g.split, g.label): i for i, g in enumerate(groups)}

    def numbers(values: Any, kind: Any) -> Any:
        return np.asarray(values.combine_chunks().to_numpy(zero_copy_only=False), kind)

    n, prefix = len(rows), kept_column("")
    return Listing(
        containers=[Shards(dataset)],
        groups=groups,
        group=np.array([number[names] for names in zip(*words, strict=True)], np.int32),
        name=rows["shard"].combine_chunks().cast(pa.string()),
        size=numbers(rows["size"], np.int64),
        class_index=numbers(rows["class_index"].fill_null(-1), np.int16),
        synset=rows["synset"].combine_chunks().cast(pa.string()),
        offset=numbers(rows["offset"], np.int64),
        stored=np.zeros(n, np.int64),
        method=np.zeros(n, np.int16),
        crc=np.zeros(n, np.uint32),
        kept={
            name.removeprefix(prefix): rows[name].combine_chunks()
            for name in rows.schema.names
            if name.startswith(prefix)
        },
    )
