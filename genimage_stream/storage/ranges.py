"""Which ranges of which shards to request for a batch of samples; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from genimage_stream.storage.store import SampleRanges

CHUNK_BYTES = 8 << 20  # of a whole file, per request
GAP_BYTES = 128 << 10  # ranges closer together than this are one request: cheaper than a round trip


class Wanted(NamedTuple):
    """A requested sample: `size` bytes at `offset`, or of these the first `parts[0]` and those from `parts[1]` to
    `parts[2]`."""

    shard: int
    offset: int
    size: int
    parts: tuple[int, int, int] | None = None

    def pieces(self) -> list[tuple[int, int]]:
        """(offset in the shard, size) of what has to be read."""
        if self.parts is None:
            return [(self.offset, self.size)]
        head, begin, end = self.parts
        return [(self.offset, head), (self.offset + begin, end - begin)]


def wanted(ranges: SampleRanges) -> list[Wanted]:
    shards, offsets, sizes = ranges.shards.tolist(), ranges.offsets.tolist(), ranges.sizes.tolist()
    if ranges.parts is None:
        return [Wanted(*one) for one in zip(shards, offsets, sizes, strict=True)]
    return [
        Wanted(shard, offset, size, None if part[0] >= size else part)
        for shard, offset, size, part in zip(shards, offsets, sizes, ranges.parts.tolist(), strict=True)
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
