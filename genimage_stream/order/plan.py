"""Which sample comes when, and on which rank: pure functions of (rows, seed, epoch, options).

Nothing here depends on threads, files or images. An epoch is an `Order`: the rows of the index in the order in which
they come over all ranks together. `Steps` cuts it into global batches of world size * batch size, and these into the
ranks' parts. The order does not depend on the world size, so a run can go on with another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from genimage_stream.order.philox import split_seed

Shuffle = Literal["full", "shards", "nodes", "none"]
Rows = npt.NDArray[np.int64]

_STEP = 1 << 16  # elements of an array that stay in the processor's cache

# One stream of random words for each question, so that no two decisions share words.
# Streams of rounds have their group's number above the lowest eight bits.
STREAM_ORDER, STREAM_SHARDS, STREAM_ROUND, STREAM_SUBSET = 1, 2, 3, 4


@dataclass(frozen=True)
class Order:
    """Samples of one epoch: `rows` of the index (n,), `occurrences` (n,) numbers the visits to the same row.

    `occurrences` is None where every sample comes once.
    """

    rows: Rows
    occurrences: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows)


def random_words(n: int, *, seed: int, epoch: int, stream: int) -> npt.NDArray[np.uint64]:
    """n words of 64 bits, a pure function of the arguments.

    NumPy guarantees the raw stream of its Philox4x64-10 across versions (NEP 19), unlike what `Generator` makes of it.
    """
    split_seed(seed)  # its range
    bits = np.random.Philox(key=np.array([seed, stream], np.uint64), counter=np.array([0, 0, 0, epoch], np.uint64))
    return bits.random_raw(n)


def permutation(
    n: int, *, seed: int, epoch: int, stream: int, groups: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """A random order of 0 .. n-1; with `groups` (n,), one that keeps the groups in rising order and mixes within each.

    Sorts words of 64 bits that hold (group, random bits, index) from the top: a sort gives the same answer in every
    version of NumPy, takes a tenth of a second for millions, and each order is as likely as any other up to equal
    random bits, which millions of samples leave rare (42 bits for 2.7 million samples in one group).
    """
    if n == 0:
        return np.empty(0, np.int64)
    index_bits = max(1, (n - 1).bit_length())
    words = random_words(n, seed=seed, epoch=epoch, stream=stream)
    if groups is not None:
        group_bits = int(np.max(groups)).bit_length()
        words >>= np.uint64(group_bits)
        words |= groups.astype(np.uint64) << np.uint64(64 - group_bits) if group_bits else np.uint64(0)
    mask = np.uint64((1 << index_bits) - 1)
    words &= ~mask
    for first in range(0, n, _STEP):
        part = words[first : first + _STEP]
        part |= np.arange(first, first + len(part), dtype=np.uint64)
    words.sort()
    words &= mask
    return words.view(np.int64)


def epoch_order(
    order: Order | int,
    *,
    seed: int,
    epoch: int,
    shuffle: Shuffle,
    shards: npt.NDArray[np.integer[Any]] | None = None,
    window: int = 16,
) -> Order:
    """The order in which an epoch's samples come; a number stands for the rows below it, each once.

    * `none`: by rows, visits to the same one together.
    * `full`: any order of all samples is as likely as any other.
    * `shards`: the shards in random order, `window` of them at a time; within a window any order of its samples is as
      likely as any other. Two samples of one shard are then never further apart than a window's samples, and a batch
      draws from at most `window` shards (or twice as many, across a border). `shards` (n,) gives each sample's shard.
    """
    if isinstance(order, int):
        if shuffle == "full":
            return Order(permutation(order, seed=seed, epoch=epoch, stream=STREAM_ORDER))
        order = Order(np.arange(order))
    if shuffle == "none":
        if order.occurrences is None:
            return order
        places = np.lexsort((order.occurrences, order.rows))
        return Order(order.rows[places], order.occurrences[places])
    if shuffle == "full":
        places = permutation(len(order), seed=seed, epoch=epoch, stream=STREAM_ORDER)
    else:
        if shards is None:
            raise ValueError("the order by shards needs each sample's shard")
        if window < 1:
            raise ValueError(f"window={window}: a window holds at least one shard")
        present = np.flatnonzero(np.bincount(shards))
        number = np.empty(len(present), np.int64)  # each shard's window
        number[permutation(len(present), seed=seed, epoch=epoch, stream=STREAM_SHARDS)] = (
            np.arange(len(present)) // window
        )
        of_shard = np.zeros(int(np.max(shards, initial=-1)) + 1, np.int64)
        of_shard[present] = number
        places = permutation(len(order), seed=seed, epoch=epoch, stream=STREAM_ORDER, groups=of_shard[shards])
    return Order(order.rows[places], None if order.occurrences is None else order.occurrences[places])


@dataclass(frozen=True)
class Steps:
    """How an epoch of `samples` samples, from place `start` on, is cut into steps and ranks.

    Every step takes the next world_size * batch_size samples of the order, the last one what is left (or, with
    `drop_last`, is left out when it is not full). Where that would be fewer samples than ranks, the last two share
    theirs evenly, so that no rank is without any. A step of m samples gives rank r those from r * m // world_size to
    (r + 1) * m // world_size: nothing is padded or repeated, every rank runs the same number of steps, and in one step
    the ranks' batches differ by one sample at most.

    What a step takes depends only on how many samples are left, so a run that goes on in between agrees. `empty` tells
    when a rank gets an empty batch after all: too few samples are left, or batches of one sample cannot be shared.
    """

    samples: int
    batch_size: int
    world_size: int = 1
    drop_last: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: at least 1 is needed")
        if self.world_size < 1:
            raise ValueError(f"world_size={self.world_size}: at least 1 is needed")
        if not 0 <= self.start <= self.samples:
            raise ValueError(f"start={self.start} is outside the epoch's {self.samples} samples")

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world_size

    @property
    def before(self) -> int:
        """Steps of the epoch that come before `start`."""
        return -(-self.start // self.global_batch)

    def __len__(self) -> int:
        left = self.samples - self.start
        return left // self.global_batch if self.drop_last else -(-left // self.global_batch)

    def bounds(self, step: int) -> tuple[int, int]:
        """First and one past the last place of a step's samples in the order."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        first = self.start + step * self.global_batch
        if step >= len(self) - 2 and (half := self._shared()):
            middle = self.samples - half
            return (first, middle) if step == len(self) - 2 else (middle, self.samples)
        return first, min(first + self.global_batch, self.samples)

    def _shared(self) -> int:
        """Samples of the last step where the last two share theirs, else 0."""
        last = (self.samples - self.start) % self.global_batch
        enough = self.batch_size > 1 and len(self) > 1
        return (self.global_batch + last) // 2 if 0 < last < self.world_size and enough and not self.drop_last else 0

    @property
    def empty(self) -> int:
        """Ranks whose last batch is empty."""
        if not len(self):
            return 0
        first, last = self.bounds(len(self) - 1)
        return max(0, self.world_size - (last - first))

    def part(self, step: int, rank: int) -> tuple[int, int]:
        """First and one past the last place of a rank's samples in the order."""
        if not 0 <= rank < self.world_size:
            raise IndexError(f"rank {rank} of {self.world_size}")
        first, last = self.bounds(step)
        m = last - first
        return first + rank * m // self.world_size, first + (rank + 1) * m // self.world_size
