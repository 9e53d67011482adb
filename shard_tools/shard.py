"""One shard: a tar of samples and its DALI index, written atomically.

A worker does all of this for one shard at a time; the same task gives the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from genimage_stream.decode import ImageFacts
from genimage_stream.schema import idx_path
from shard_tools import tar
from shard_tools.crop_ready import recode_image
from shard_tools.errors import SourceError, UnreadableImageError
from shard_tools.faults import Faults
from shard_tools.inspect import Check, image_facts, need_reader
from shard_tools.sample import index_line, sample_facts
from shard_tools.sources.base import Location
from shard_tools.target.local_storage import Storage


class Known(NamedTuple):
    """What is known of an image that was packed before; the fields as in Packed."""

    facts: ImageFacts
    sha256: str
    stored_sha256: str | None = None
    pixel_sha256: str | None = None
    segments: list[int] | None = None


class Item(NamedTuple):
    """One planned sample."""

    key: str
    label: str
    class_index: int  # -1: unknown
    synset: str | None  # only where the class does not say it
    container: int
    where: Location
    known: Known | None = None  # of an image that is copied from another dataset


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


#: Called now and then with (files done, bytes read, files quarantined) since the last call.
Report = Callable[[int, int, int], None]
REPORTED = 64  # files between two reports


class Images(Protocol):
    """Where the bytes of the samples come from."""

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """Held while a core is busy with a sample."""

    def ahead(self, items: Sequence[Item]) -> Iterator[bytes | Exception]:
        """For each item, in order, its bytes, or the exception that says why there are none."""


def write_shard(task: ShardTask, readers: Images, storage: Storage, report: Report) -> ShardResult:
    """Read, check, hash and write every sample of a task. Raises SourceError or TargetError; then no file is left."""
    result = ShardResult(task.number, task.png_level is not None)
    file = None
    index: list[str] = []
    position = 0
    done = read = bad = 0
    faults = Faults(len(task.items))
    try:
        for number, (item, data) in enumerate(zip(task.items, readers.ahead(task.items), strict=True)):
            if done == REPORTED:
                report(done, read, bad)
                done = read = bad = 0
            done += 1
            read += item.where.size
            try:
                if isinstance(data, Exception):
                    raise data
                with readers.turn:
                    image = _to_store(data, task, item)
            except UnreadableImageError as error:
                faults.add(number, error)
                result.quarantined.append(Quarantined(number, str(error)))
                bad += 1
                continue
            parts, packed, line = _lay_out(task, number, position, image)
            if file is None:
                file = storage.create(task.path)
            file.write(parts)
            result.packed.append(packed)
            index.append(line)
            position += sum(map(len, parts))
        if file is not None:
            file.write([tar.END])
            result.size = position + len(tar.END)
            # The index first, so that where there is a tar, there is its index.
            storage.write(idx_path(task.path), (f"v1.2 {len(index)}\n" + "".join(index)).encode())
            file.commit()
    except BaseException:
        if file is not None:
            file.abort()
        raise
    report(done, read, bad)
    return result


class _Stored(NamedTuple):
    """One image as it goes into the tar; the digests as in Packed."""

    data: bytes
    facts: ImageFacts
    sha256: str
    stored_sha256: str | None = None
    pixel_sha256: str | None = None
    segments: list[int] | None = None


def _to_store(data: bytes, task: ShardTask, item: Item) -> _Stored:
    """Check one image, and recode it for a crop-ready shard. Raises UnreadableImageError; SourceError for an image of a
    dataset that is not what its index says."""
    name = item.where.path
    if item.known is not None:
        if hashlib.sha256(data).hexdigest() != (item.known.stored_sha256 or item.known.sha256):
            raise SourceError(
                f"{name}: {item.key}: the image's bytes have changed (sha256 differs): `shard-tools verify` lists what "
                "is damaged"
            )
        return _Stored(data, *item.known)
    if task.png_level is None:
        sha256 = hashlib.sha256(data).hexdigest()  # first: what was just read is in the processor's cache
        return _Stored(data, image_facts(data, task.check, name), sha256)
    need_reader(data, name)
    return _Stored(*recode_image(data, task.png_level))


def _lay_out(task: ShardTask, number: int, position: int, image: _Stored) -> tuple[tuple[bytes, ...], Packed, str]:
    """(bytes of the sample in the tar, its record, its line of DALI's index) of a sample that begins at `position`."""
    item = task.items[number]
    size = len(image.data)
    suffix = tar.suffix_of(image.facts.format)
    head = tar.header(f"{item.key}.{suffix}", size)
    given = (task.generator, task.split, item.label, item.class_index, item.synset)
    small, tail = tar.small_members(
        item.key, item.label, sample_facts(*given, image.facts, size, image.sha256, image.stored_sha256)
    )
    pad = tar.padding(size)
    offset = position + len(head)
    line = index_line(item.key, suffix, offset, size, small, offset + size + len(pad))
    packed = Packed(number, offset, size, *image[1:])
    return (head, image.data, pad, tail), packed, line
