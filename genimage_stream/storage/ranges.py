"""Which ranges of which shards to request for a batch of samples; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from genimage_stream.storage.tar_headers import BLOCK

if TYPE_CHECKING:
    from genimage_stream.storage.store import SampleRanges

CHUNK_BYTES = 8 << 20  # of a whole file, per request
GAP_BYTES = 128 << 10  # ranges closer together than this are one request: cheaper than a round trip


class Wanted(NamedTuple):
    """A requested sample: `size` bytes at `offset`, or of these the first `parts[0]` and those from `parts[1]` to
    `parts[2]`; with the tar header before it, where `name` is what that has to begin with."""

    shard: int
    offset: int
    size: int
    parts: tuple[int, int, int] | None = None
    name: bytes | None = None

    @property
    def lead(self) -> int:
        """Bytes that are read before the sample."""
        return 0 if self.name is None else min(BLOCK, self.offset)

    def pieces(self) -> list[tuple[int, int]]:
        """(offset in the shard, size) of what has to be read."""
        lead = self.lead
        if self.parts is None:
            return [(self.offset - lead, self.size + lead)]
        head, begin, end = self.parts
        return [(self.offset - lead, head + lead), (self.offset + begin, end - begin)]


def wanted(ranges: SampleRanges) -> list[Wanted]:
    shards, offsets, sizes = ranges.shards.tolist(), ranges.offsets.tolist(), ranges.sizes.tolist()
    names = [None] * len(shards) if ranges.names is None else ranges.names
    parts = [None] * len(shards) if ranges.parts is None else ranges.parts.tolist()
    return [
        Wanted(shard, offset, size, None if part is None or part[0] >= size else part, name)
        for shard, offset, size, part, name in zip(shards, offsets, sizes, parts, names, strict=True)
    ]


def coalesce(
    shards: Sequence[int], offsets: Sequence[int], sizes: Sequence[int]
) -> list[tuple[int, int, int, list[int]]]:
    """Ranges (shard, start, end, places of the samples in it) that cover all samples; neighbours share one."""
    spans: list[tuple[int, int, int, list[int]]] = []
    for i in sorted(range(len(shards)), key=lambda i: (shards[i], offsets[i])):
        shard, start, end = shards[i], offsets[i], offsets[i] + sizes[i]
        if spans:
            before, first, last, members = spans[-1]
            if before == shard and start - last <= GAP_BYTES and end - first <= CHUNK_BYTES:
                spans[-1] = (shard, first, max(last, end), [*members, i])
                continue
        spans.append((shard, start, end, [i]))
    return spans
