"""Shards from the caches of other nodes, which `genimage-stream cache serve` shows.

A peer is never trusted: what it sends counts only when the tar headers and the SHA-256 of every image are those of the
index. It is never waited for longer than the store takes: its time for a part is what the store took for one, as this
process has measured it. A peer that is too slow or answers nonsense is left alone for a while, one whose bytes are not
those of the index for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from genimage_stream.addresses import is_link_local, shown
from genimage_stream.arguments import WrongKindError
from genimage_stream.storage.errors import StoreError
from genimage_stream.storage.http_files import HttpFiles
from genimage_stream.storage.patience import PassingError

log = logging.getLogger("genimage_stream")

AWAY_SECONDS = 60.0  # for which a peer that failed is not asked
_LEAST_SECONDS = 0.05  # for an answer, however fast the store is
_RECENT = 0.2  # of the mean, which the last part is


class Peer:
    """Another node's cache at an address."""

    def __init__(self, address: str, parallel: int) -> None:
        self.name = shown(address)
        self._files = HttpFiles(address, {}, AWAY_SECONDS, parallel)
        self._back = 0.0  # when it is asked again

    @property
    def here(self) -> bool:
        return time.monotonic() >= self._back

    async def has(self, path: str, size: int, seconds: float) -> bool:
        """Whether it says within that time that it has a file of this size."""
        try:
            return (await asyncio.wait_for(self._files.head(path), seconds)).size == size
        except FileNotFoundError:
            return False
        except (OSError, PassingError, asyncio.TimeoutError) as error:
            self._leave(error)
            return False

    async def part(self, path: str, start: int, end: int, seconds: float) -> bytearray | None:
        """Bytes start .. end of a file; None when they do not come within that time."""
        try:
            data, _ = await asyncio.wait_for(self._files.get(path, start, end), seconds)
        except (OSError, PassingError, asyncio.TimeoutError) as error:
            self._leave(error)
            return None
        return data if len(data) == end - start else None

    def _leave(self, error: Exception) -> None:
        log.debug("%s is not asked for %g s: %s", self.name, AWAY_SECONDS, error or "it is slower than the store")
        self._back = time.monotonic() + AWAY_SECONDS

    def lied(self, error: StoreError) -> None:
        """Never ask it again."""
        log.warning("the peer %s is no longer asked, since what it sent is not what was packed: %s", self.name, error)
        self._back = float("inf")


class Peers:
    """Some peers, and how long the store takes for a part of a shard."""

    def __init__(self, addresses: Sequence[str], parallel: int) -> None:
        self._peers = [Peer(address, parallel) for address in checked(addresses)]
        self._seconds: float | None = None

    @property
    def seconds(self) -> float | None:
        """The time that a peer has; None before the store was measured, or without peers."""
        if self._seconds is None or not self._peers:
            return None
        return max(_LEAST_SECONDS, self._seconds)

    @property
    def wants_measure(self) -> bool:
        """Whether the store has to be measured before peers can be asked."""
        return bool(self._peers) and self._seconds is None

    def took(self, seconds: float) -> None:
        """The store has sent a part in that time."""
        before = seconds if self._seconds is None else self._seconds
        self._seconds = before + _RECENT * (seconds - before)

    async def holding(self, path: str, size: int) -> Peer | None:
        """One that says that it has the file: the first of the list among those that answer in time."""
        asked = [peer for peer in self._peers if peer.here]
        if (seconds := self.seconds) is None or not asked:
            return None
        found = await asyncio.gather(*(peer.has(path, size, seconds) for peer in asked))
        return next((peer for peer, has in zip(asked, found, strict=True) if has), None)


def checked(addresses: object) -> list[str]:
    """The addresses of peers. Raises ValueError for what is none."""
    if isinstance(addresses, str) or not isinstance(addresses, Sequence):
        raise WrongKindError(f'peers={addresses!r}: a list of addresses is needed, e.g. ["http://node-3:8123"]')
    for address in addresses:
        try:
            parts = urlsplit(address if isinstance(address, str) else "")
            fits = parts.scheme == "http" and bool(parts.hostname) and not parts.query and parts.port != 0
        except ValueError:
            fits = False
        if not fits or is_link_local(parts.hostname or ""):
            raise ValueError(f'peers: {shown(str(address))!r} is no address of a peer, e.g. "http://node-3:8123"')
    return [address.rstrip("/") for address in addresses]
