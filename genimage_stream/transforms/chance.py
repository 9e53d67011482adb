"""Random numbers of a sample: each step has a Philox stream of its own.

A stream is a pure function of (seed, epoch, first 8 bytes of the original's sha256, visit, step's name, number of steps
of that name before it in the list). Nothing depends on rows, ranks, threads or other steps, so samples draw alike after
a resume or on another number of GPUs, and adding a step of another kind changes no other step's draws.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import native
from genimage_stream.order.philox import Words, below, philox4x32, split_seed, units

if TYPE_CHECKING:
    from typing_extensions import Buffer

_WORD = 0xFFFFFFFF


def identity_of(sha256: str | bytes) -> bytes:
    """The 8 bytes that key a sample's chance, of the sha256 of its original file (64 hex digits, or bytes).

    Raises ValueError when there are fewer than 8 bytes, or other characters than hex digits.
    """
    try:
        digest = bytes.fromhex(sha256[:16]) if isinstance(sha256, str) else bytes(sha256[:8])
    except ValueError:
        raise ValueError(f"sha256={sha256!r} is not made of hex digits") from None
    if len(digest) != 8:
        raise ValueError(f"sha256={sha256!r} has fewer than 16 hex digits")
    return digest


@dataclass(frozen=True)
class Chance:
    """What keys the draws of one visit to one sample."""

    seed: int
    epoch: int
    visit: int
    identity: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed={self.seed} is outside 0 .. 2**64 - 1")
        for name in ("epoch", "visit"):
            if not 0 <= getattr(self, name) <= _WORD:
                raise ValueError(f"{name}={getattr(self, name)} is outside 0 .. {_WORD}")

    def stream(self, name: str, ordinal: int) -> Stream:
        """The stream of the step `name` that has `ordinal` steps of the same name before it."""
        low, high = int.from_bytes(self.identity[:4], "little"), int.from_bytes(self.identity[4:], "little")
        sample = native.philox((self.seed & _WORD, self.seed >> 32), (low, high, self.epoch, self.visit))
        return Stream((sample[0], sample[1]), (zlib.crc32(f"{name}:{ordinal}".encode()), sample[2], sample[3]))


class Stream:
    """Random numbers one after the other."""

    def __init__(self, key: tuple[int, int], rest: tuple[int, int, int]) -> None:
        self._key = key
        self._rest = rest
        self._block = 0
        self._words: list[int] = []

    def word(self) -> int:
        """32 random bits."""
        if not self._words:
            self._words = list(reversed(native.philox(self._key, (self._block, *self._rest))))
            self._block += 1
        return self._words.pop()

    def unit(self) -> float:
        """A number 0 <= u < 1."""
        return self.word() / (1 << 32)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two, both included where they are equal."""
        return low + (high - low) * self.unit()

    def below(self, limit: int) -> int:
        """A whole number 0 <= k < limit; for limits of an image's size the bias is below 1e-5."""
        return self.word() * limit >> 32

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both ends included."""
        return low + self.below(high - low + 1)

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def order(self, count: int) -> list[int]:
        """The numbers 0 .. count - 1 in random order."""
        numbers = list(range(count))
        for i in range(count - 1, 0, -1):
            j = self.below(i + 1)
            numbers[i], numbers[j] = numbers[j], numbers[i]
        return numbers

    def key(self) -> str:
        """16 hex digits that key a field of random numbers."""
        return f"{self.word():08x}{self.word():08x}"


@dataclass(frozen=True)
class Chances:
    """What keys the draws of n samples of one epoch.

    `visits` (n,); `identities`, called when something is drawn, gives uint64 (n,): the first 8 bytes of their sha256,
    read as big-endian numbers.
    """

    seed: int
    epoch: int
    visits: npt.NDArray[np.int64]
    identities: Callable[[], npt.NDArray[np.uint64]]

    def of(self, which: int) -> Chance:
        """That of one sample."""
        identity = int(self._identities[which]).to_bytes(8, "big")
        return Chance(self.seed, self.epoch, int(self.visits[which]), identity)

    @cached_property
    def _identities(self) -> npt.NDArray[np.uint64]:
        return self.identities()

    @cached_property
    def words(self) -> Words:
        """(4, n): of each sample what its streams are keyed by."""
        counters = np.empty((4, len(self.visits)), np.uint32)
        counters[:2] = np.ascontiguousarray(self._identities, ">u8").view("<u4").reshape(-1, 2).T
        counters[2], counters[3] = self.epoch, self.visits
        return philox4x32(counters, split_seed(self.seed))

    def streams(self, name: str, ordinal: int, which: npt.NDArray[np.intp] | slice = slice(None)) -> Streams:
        """Of the samples `which`, the streams of the step `name` that has `ordinal` of the same name before it."""

        def keyed() -> tuple[Words, Words]:
            words = self.words[:, which]
            rest = np.empty((3, len(words[0])), np.uint32)
            rest[0], rest[1:] = zlib.crc32(f"{name}:{ordinal}".encode()), words[2:]
            return words[:2], rest

        return Streams(keyed)


class Streams:
    """The `Stream` of each of n samples: the same words in the same order, one array (n,) per call.

    `keyed` gives the keys (2, n) and the rest of the counters (3, n).
    """

    def __init__(self, keyed: Callable[[], tuple[Words, Words]], taken: int = 0) -> None:
        self._keyed = keyed
        self._taken = taken  # words of each stream
        self._block: Words | None = None

    def words(self) -> Words:
        """The next word of each."""
        place = self._taken % 4
        if place == 0 or self._block is None:
            keys, rest = self._keyed()
            counters = np.empty((4, len(rest[0])), np.uint32)
            counters[0], counters[1:] = self._taken // 4, rest
            self._block = philox4x32(counters, keys)
        self._taken += 1
        found: Words = self._block[place]
        return found

    def block(self, count: int) -> Words:
        """The next `count` words of each: (count, n)."""
        keys, rest = self._keyed()
        first, blocks = self._taken // 4, (self._taken + count + 3) // 4 - self._taken // 4
        counters = np.empty((4, blocks, rest.shape[1]), np.uint32)
        counters[0], counters[1:] = np.arange(first, first + blocks)[:, None], rest[:, None]
        words: Words = philox4x32(counters.reshape(4, -1), np.tile(keys, blocks)).reshape(counters.shape)
        words = words.transpose(1, 0, 2).reshape(4 * blocks, rest.shape[1])
        start = self._taken % 4
        self._taken += count
        if blocks:
            self._block = words[-4:]
        found: Words = words[start : start + count]
        return found

    def units(self) -> npt.NDArray[np.float64]:
        return units(self.words())

    def uniform(self, low: float, high: float) -> npt.NDArray[np.float64]:
        return low + (high - low) * self.units()

    def below(self, limits: npt.NDArray[np.int64] | int) -> npt.NDArray[np.int64]:
        return below(self.words(), np.asarray(limits, np.int64))

    def whole(self, low: int, high: int) -> npt.NDArray[np.int64]:
        return low + self.below(high - low + 1)

    def happens(self, probability: float) -> npt.NDArray[np.bool_]:
        return self.units() < probability

    def only(self, which: npt.NDArray[np.intp]) -> Streams:
        """Those of some samples, from here on."""
        keys, rest = self._keyed()
        return Streams(lambda: (keys[:, which], rest[:, which]), self._taken)

    def orders(self, count: int) -> npt.NDArray[np.int64]:
        """(n, count): the numbers 0 .. count - 1 in random order."""
        words = self.block(max(count - 1, 0))
        rows = np.arange(words.shape[1])
        numbers = np.tile(np.arange(count), (len(rows), 1))
        for i in range(count - 1, 0, -1):
            j = below(words[count - 1 - i], np.asarray(i + 1))
            numbers[:, i], numbers[rows, j] = numbers[rows, j], numbers[:, i].copy()
        return numbers


def halves(key: str) -> tuple[int, int]:
    """The two words of what `Stream.key` returned."""
    return int(key[:8], 16), int(key[8:], 16)


def default_identity(data: Buffer) -> bytes:
    """The identity of a sample that is known by its bytes alone."""
    return hashlib.sha256(data).digest()[:8]
