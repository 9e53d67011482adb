"""One shard: a tar of samples and its DALI index, written atomically.

A worker does all of this for one shard at a time; the same task gives the same bytes on any machine. Here it is done
in Python, sample by sample, which serves for crop-ready shards and is what the quick way of core_shard.py is compared
with.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from genimage_stream.decode import ImageFacts
from genimage_stream.decode._core import read_soon
from genimage_stream.decode.image import DEFAULT_LIMITS
from genimage_stream.schema import idx_path
from genimage_stream.vocabulary import synsets
from shard_tools import tar
from shard_tools.buffers import Buffers
from shard_tools.crop_ready import recode_image
from shard_tools.errors import UnreadableImageError
from shard_tools.faults import Faults
from shard_tools.inspect import Check, image_facts
from shard_tools.read_ahead import THREADS, read_ahead
from shard_tools.sources.base import Container, Location, Reader
from shard_tools.sources.folder import FolderContainer
from shard_tools.storage import ShardFile, Storage


class Item(NamedTuple):
    """One planned sample."""

    key: str
    label: str
    class_index: int  # -1: unknown
    synset: str | None  # only where the class does not say it
    container: int
    where: Location


@dataclass(frozen=True)
class ShardTask:
    number: int  # place of the shard in the plan
    path: str
    generator: str
    split: str
    items: list[Item]
    check: Check
    png_level: int | None = None  # of crop-ready images; None: the original bytes are stored


class Packed(NamedTuple):
    """What packing found out about one sample."""

    item: int  # place in the task
    offset: int  # of the image's bytes in the tar
    size: int
    facts: ImageFacts
    sha256: str  # of the original bytes
    stored_sha256: str | None = None  # these three of crop-ready shards only
    pixel_sha256: str | None = None
    segments: list[int] | None = None


class Quarantined(NamedTuple):
    item: int
    reason: str


@dataclass
class ShardResult:
    number: int
    crop_ready: bool = False
    size: int = 0  # bytes of the tar, 0 when no sample was sound and there is no file
    packed: list[Packed] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)


class Readers:
    """The readers of all containers, opened when first needed, and the threads that read ahead.

    `turn` is held while a core is busy with a sample, where several threads share so many cores. `buffers` are what
    shards are laid out in.
    """

    def __init__(self, containers: Sequence[Container], at_once: int | None = None) -> None:
        self._containers = containers
        self.turn: AbstractContextManager[Any] = threading.Semaphore(at_once) if at_once else nullcontext()
        self._open: dict[int, Reader] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, "read-ahead")
        self.buffers = Buffers()

    def _reader(self, container: int) -> Reader:
        reader = self._open.get(container)
        if reader is None:
            with self._lock:
                reader = self._open.get(container)
                if reader is None:
                    reader = self._open[container] = self._containers[container].reader()
        return reader

    def read(self, container: int, where: Location) -> bytes:
        size, limit = max(where.size, where.stored), DEFAULT_LIMITS.max_bytes
        if size > limit:  # before the memory is taken
            raise UnreadableImageError(f"the file has {size} bytes, more than the limit of {limit}")
        return self._reader(container).read(where)

    def paths(self, items: Sequence[Item]) -> list[str] | None:
        """The files that are the items, whole; None when some are not plain files."""
        if not all(isinstance(self._containers[number], FolderContainer) for number in {i.container for i in items}):
            return None
        roots = {number: self._containers[number].root + "/" for number in {i.container for i in items}}  # type: ignore[attr-defined]
        return [roots[item.container] + item.where.path for item in items]

    def soon(self, paths: list[str]) -> None:
        """Let the disk begin to read files that are needed soon."""
        self._pool.submit(read_soon, paths)

    def ahead(self, items: Sequence[Item]) -> Iterator[bytes | Exception]:
        """For each item, in order, its bytes, or the exception that says why there are none."""
        return read_ahead(
            items, lambda item: self.read(item.container, item.where), lambda item: item.where.size, self._pool
        )

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for reader in self._open.values():
            reader.close()
        self._open.clear()


#: Called now and then with (files done, bytes read, files quarantined) since the last call.
Report = Callable[[int, int, int], None]


def sample_facts(
    generator: str,
    split: str,
    label: str,
    class_index: int,
    synset: str | None,
    facts: ImageFacts,
    size: int,
    sha256: str,
    stored_sha256: str | None = None,
) -> bytes:
    """Contents of `<key>.json`: facts of the image, none of where it was found.

    Written out, because every word of it is of a closed set of plain letters and `json.dumps` takes five times as
    long; a test compares the two.
    """
    text = (
        f"{facts_head(generator, split, label, class_index, synset)},"
        f'"format":"{facts.format}","mode":"{facts.mode}","width":{facts.width},"height":{facts.height},'
        f'"jpeg_quality":{"null" if facts.jpeg_quality is None else facts.jpeg_quality},'
        f'"progressive":{"true" if facts.progressive else "false"},"size":{size},"sha256":"{sha256}"'
    )
    return (text + ("}" if stored_sha256 is None else f',"stored_sha256":"{stored_sha256}"}}')).encode()


def facts_head(generator: str, split: str, label: str, class_index: int, synset: str | None) -> str:
    """The begin of `<key>.json`: what is known without the image."""
    name = synset_of(class_index, synset)
    return (
        f'{{"generator":"{generator}","split":"{split}","label":"{label}",'
        f'"class_index":{class_index if class_index >= 0 else "null"},'
        f'"synset":{"null" if name is None else chr(34) + name + chr(34)}'
    )


def synset_of(class_index: int, synset: str | None) -> str | None:
    return synset if class_index < 0 else synsets()[class_index]


def _to_store(
    data: bytes, task: ShardTask, name: str
) -> tuple[bytes, ImageFacts, str, str | None, str | None, list[int] | None]:
    """(bytes to store, facts, sha256 of the original, of the stored bytes, of the pixels, segments) of one image."""
    facts = image_facts(data, task.check if task.png_level is None else "header", name)
    if task.png_level is None:
        return data, facts, hashlib.sha256(data).hexdigest(), None, None, None
    recoded = recode_image(data, task.png_level)
    return recoded.data, facts, *recoded[1:]


def write_shard(task: ShardTask, readers: Readers, storage: Storage, report: Report) -> ShardResult:
    """Read, check, hash and write every sample of a task. Raises SourceError or TargetError; then no file is left."""
    from shard_tools import core_shard

    way = core_shard.write_by_core if core_shard.can_write(task) else write_plainly
    return way(task, readers, storage, report)


def write_plainly(task: ShardTask, readers: Readers, storage: Storage, report: Report) -> ShardResult:
    """As write_shard, in Python."""
    result = ShardResult(task.number, task.png_level is not None)
    file = None
    index: list[str] = []
    position = 0
    done = read = bad = 0
    faults = Faults(len(task.items))
    try:
        for number, (item, data) in enumerate(zip(task.items, readers.ahead(task.items), strict=True)):
            done += 1
            read += item.where.size
            try:
                if isinstance(data, Exception):
                    raise data
                packed = _to_store(data, task, item.where.path)
            except UnreadableImageError as error:
                faults.add(number, error)
                result.quarantined.append(Quarantined(number, str(error)))
                bad += 1
                continue
            finally:
                if done == 64:
                    report(done, read, bad)
                    done = read = bad = 0
            parts, record, line = lay_out(task, number, position, *packed)
            if file is None:
                file = storage.create(task.path)
            file.write(parts)
            result.packed.append(record)
            index.append(line)
            position += sum(map(len, parts))
        if file is not None:
            file.write([tar.END])
            result.size = position + len(tar.END)
            finish(task, file, index, storage)
    except BaseException:
        if file is not None:
            file.abort()
        raise
    report(done, read, bad)
    return result


def lay_out(
    task: ShardTask,
    number: int,
    position: int,
    stored: bytes,
    facts: ImageFacts,
    sha256: str,
    stored_sha256: str | None = None,
    pixel_sha256: str | None = None,
    segments: list[int] | None = None,
) -> tuple[tuple[bytes, ...], Packed, str]:
    """(bytes of the sample in the tar, its record, its line of DALI's index) of an image that begins at `position`."""
    item = task.items[number]
    size = len(stored)
    suffix = tar.suffix_of(facts.format)
    head = tar.header(f"{item.key}.{suffix}", size)
    given = (task.generator, task.split, item.label, item.class_index, item.synset)
    small, tail = tar.small_members(item.key, item.label, sample_facts(*given, facts, size, sha256, stored_sha256))
    pad = tar.padding(size)
    offset = position + len(head)
    line = index_line(item.key, suffix, offset, size, small, offset + size + len(pad))
    packed = Packed(number, offset, size, facts, sha256, stored_sha256, pixel_sha256, segments)
    return (head, stored, pad, tail), packed, line


def finish(task: ShardTask, file: ShardFile, index: list[str], storage: Storage) -> None:
    """Everything is written: the index first, so that where there is a tar, there is its index."""
    storage.write(idx_path(task.path), (f"v1.2 {len(index)}\n" + "".join(index)).encode())
    file.commit()


def index_line(key: str, suffix: str, offset: int, size: int, small: Sequence[tar.Small], end: int) -> str:
    """A line of DALI's index v1.2: suffix, offset, size and name of each member; `end` is where the image's padding
    ends.
    """
    cls, json = small
    return (
        f"{suffix} {offset} {size} {key}.{suffix} cls {end + cls.offset} {cls.size} {key}.cls "
        f"json {end + json.offset} {json.size} {key}.json\n"
    )
