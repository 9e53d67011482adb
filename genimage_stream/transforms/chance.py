"""Random numbers of a sample: each step has a Philox stream of its own.

A stream is a pure function of (seed, epoch, first 8 bytes of the original's sha256, visit, step's name, number of steps
of that name before it in the list). Nothing depends on rows, ranks, threads or other steps, so samples draw alike after
a resume or on another number of GPUs, and adding a step of another kind changes no other step's draws.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

_WORD = 0xFFFFFFFF


def identity_of(sha256: str | bytes) -> bytes:
    """The 8 bytes that key a sample's chance, of the sha256 of its original file (64 hex digits, or bytes).

    Raises ValueError when there are fewer than 8 bytes.
    """
    digest = bytes.fromhex(sha256[:16]) if isinstance(sha256, str) else bytes(sha256[:8])
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
        sample = _core.philox((self.seed & _WORD, self.seed >> 32), (low, high, self.epoch, self.visit))
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
            self._words = list(reversed(_core.philox(self._key, (self._block, *self._rest))))
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


def default_identity(data: Buffer) -> bytes:
    """The identity of a sample that is known by its bytes alone."""
    return hashlib.sha256(data).digest()[:8]
