"""One shard by the C++ core: whole batches of files are read, checked, hashed and laid out without Python.

Two buffers take turns: while one is filled, the other is written. Whatever the core leaves (files that cannot be read
as they were listed, formats that Pillow decodes, images larger than a buffer) goes the plain way of shard.py, one
sample at a time, which also explains what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from genimage_stream.decode import ImageFacts, _core
from genimage_stream.decode.image import DEFAULT_LIMITS
from shard_tools import buffers, tar
from shard_tools.errors import UnreadableImageError
from shard_tools.faults import Faults
from shard_tools.inspect import image_facts
from shard_tools.shard import (
    Packed,
    Quarantined,
    Readers,
    Report,
    ShardResult,
    ShardTask,
    facts_head,
    finish,
    index_line,
    lay_out,
)
from shard_tools.storage import ShardFile, Storage

LONGEST_KEY = 95  # with its suffix a name of 100 bytes; longer ones have PAX headers
LARGEST_BYTES = 32 << 20  # of an image that passes through a buffer
ROOM_BYTES = 16 << 10  # more than a sample takes besides its image
BATCH = 64
BATCH_BYTES = 8 << 20  # of images that are handed to the core in memory, unless a single one has more
AHEAD = 16  # files of a cold disk asked for at a time, by each of the reading threads
PAGE = 4096


def can_write(task: ShardTask) -> bool:
    """Crop-ready shards and those with very long names are written in Python."""
    return task.png_level is None and max(len(item.key) for item in task.items) <= LONGEST_KEY


def write_by_core(task: ShardTask, readers: Readers, storage: Storage, report: Report) -> ShardResult:
    """As shard.write_shard."""
    shard = _Shard(task, readers, storage)
    try:
        for first, sources in _sources(task, readers):
            bad = len(shard.result.quarantined)
            shard.add(first, sources)
            size = sum(item.where.size for item in task.items[first : first + len(sources)])
            report(len(sources), size, len(shard.result.quarantined) - bad)
        return shard.finish()
    except BaseException:
        shard.abort()
        raise


def _sources(task: ShardTask, readers: Readers) -> Iterator[tuple[int, Sequence[str | bytes | Exception]]]:
    """(number of the first, sources) of each batch: paths where all items are plain files, otherwise their bytes, or
    why there are none.
    """
    paths = readers.paths(task.items)
    if paths is not None:
        for first in range(0, len(paths), BATCH):
            yield first, paths[first : first + BATCH]
        return
    batch: list[bytes | Exception] = []
    first = size = 0
    for number, source in enumerate(readers.ahead(task.items)):
        more = task.items[number].where.size
        if batch and (len(batch) == BATCH or size + more > BATCH_BYTES):
            yield first, batch
            batch, first, size = [], number, 0
        batch.append(source)
        size += more
    if batch:
        yield first, batch


class _Shard:
    """A shard that is being written."""

    def __init__(self, task: ShardTask, readers: Readers, storage: Storage) -> None:
        self.result = ShardResult(task.number)
        self._task, self._readers, self._storage = task, readers, storage
        largest = max((item.where.size for item in task.items if item.where.size <= LARGEST_BYTES), default=0)
        capacity = max(buffers.STANDARD_BYTES, -(-(largest + ROOM_BYTES) // PAGE) * PAGE + PAGE)
        self._buffer, self._other = readers.buffers.take(capacity), readers.buffers.take(capacity)
        self._used = 0  # bytes of the buffer
        self._base = 0  # place of the buffer in the file
        self._file: ShardFile | None = None
        self._index: list[str] = []
        self._faults = Faults(len(task.items))
        self._behind = ThreadPoolExecutor(1, "write-behind")
        self._writing: Future[None] | None = None
        self._cold = False
        self._asked = 0  # files before this one were asked for

    def add(self, first: int, sources: Sequence[str | bytes | Exception]) -> None:
        """Append samples; `sources` are those of the items from number `first` on."""
        items = self._task.items[first : first + len(sources)]
        task = self._task
        given = [
            (
                source,
                item.where.size,
                item.key,
                item.label == "fake",
                facts_head(task.generator, task.split, item.label, item.class_index, item.synset),
            )
            for item, source in zip(items, sources, strict=True)
        ]
        at = 0
        while at < len(given):
            stop = at
            while stop < len(given) and given[stop][1] <= LARGEST_BYTES and not isinstance(given[stop][0], Exception):
                stop += 1
            if stop == at:
                self._add_plainly(first + at, sources[at])
                at += 1
                continue
            with self._readers.turn:
                found, self._used, cold = _core.pack_samples(
                    self._buffer,
                    self._used,
                    given[at:stop],  # type: ignore[arg-type]
                    task.check == "full",
                    DEFAULT_LIMITS.max_pixels,
                    DEFAULT_LIMITS.max_bytes,
                )
            for number, entry in enumerate(found, first + at):
                if entry is None:
                    self._add_plainly(number, sources[number - first])
                elif isinstance(entry, str):
                    self.result.quarantined.append(Quarantined(number, entry))
                else:
                    self._take(number, *entry)
            at += len(found)
            if at < stop and (not found or found[-1] is not None):
                self._flush()
            self._cold = self._cold or cold > 0
            if self._cold:
                self._ask_ahead(first + at)

    def _take(
        self, number: int, at: int, facts_size: int, sha256: str, facts: tuple[str, str, int, int, int, int, bool]
    ) -> None:
        """The core laid a sample out with its image at `at` in the buffer."""
        item = self._task.items[number]
        size = item.where.size
        form, mode, width, height, depth, quality, progressive = facts
        image = ImageFacts(form, mode, width, height, depth, quality if quality > 0 else None, progressive)
        offset = self._base + at
        self.result.packed.append(Packed(number, offset, size, image, sha256))
        small = (tar.Small("cls", tar.BLOCK, 1), tar.Small("json", 3 * tar.BLOCK, facts_size))
        end = offset + size + len(tar.padding(size))
        self._index.append(index_line(item.key, tar.suffix_of(image.format), offset, size, small, end))

    def _add_plainly(self, number: int, source: str | bytes | Exception) -> None:
        item = self._task.items[number]
        try:
            if isinstance(source, Exception):
                raise source
            data = self._readers.read(item.container, item.where) if isinstance(source, str) else source
            facts = image_facts(data, self._task.check, item.where.path)
        except UnreadableImageError as error:
            self._faults.add(number, error)
            self.result.quarantined.append(Quarantined(number, str(error)))
            return
        sha256 = hashlib.sha256(data).hexdigest()
        parts, record, line = lay_out(self._task, number, self._base + self._used, data, facts, sha256)
        size = sum(map(len, parts))
        if size <= len(self._buffer) - PAGE:
            if self._used + size > len(self._buffer):
                self._flush()
            for part in parts:
                self._append(part)
        else:
            self._flush(everything=True)
            assert self._file is not None
            self._file.write(parts)
            self._base += size
        self.result.packed.append(record)
        self._index.append(line)

    def _append(self, data: bytes) -> None:
        self._buffer[self._used : self._used + len(data)] = data
        self._used += len(data)

    def _flush(self, everything: bool = False) -> None:
        """Write the buffer in whole pages, as a disk takes them best, or to its last byte."""
        if self._file is None:
            self._file = self._storage.create(self._task.path)
        size = self._used if everything else self._used // PAGE * PAGE
        self._wait()
        rest = self._buffer[size : self._used]
        self._writing = self._behind.submit(self._file.write, [memoryview(self._buffer)[:size]])
        self._buffer, self._other = self._other, self._buffer
        self._base += size
        self._used = 0
        self._append(rest)
        if everything:
            self._wait()

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _ask_ahead(self, number: int) -> None:
        """This disk is read for the first time: let it begin with the next files."""
        paths = self._readers.paths(self._task.items[max(number, self._asked) : number + 3 * BATCH]) or []
        for at in range(0, len(paths), AHEAD):
            self._readers.soon(paths[at : at + AHEAD])
        self._asked = max(self._asked, number + 3 * BATCH)

    def finish(self) -> ShardResult:
        if self.result.packed:
            if self._used + len(tar.END) > len(self._buffer):
                self._flush()
            self._append(tar.END)
            self.result.size = self._base + self._used
            self._flush(everything=True)
            assert self._file is not None
            finish(self._task, self._file, self._index, self._storage)
        self._behind.shutdown()
        self._readers.buffers.give_back(self._buffer, self._other)
        return self.result

    def abort(self) -> None:
        self._behind.shutdown()
        if self._file is not None:
            self._file.abort()
