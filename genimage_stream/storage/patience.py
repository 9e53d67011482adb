"""How long, how often and how many at once: requests to a store that answers slowly, refuses for a while, or fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

LONGEST_PAUSE = 30.0  # seconds between attempts, unless the server asks for more


@dataclass(frozen=True)
class Patience:
    """Limits of requests to a store, all of them keys of `storage_options`.

    A request that gets no byte for `timeout` seconds is given up; how long it takes as a whole does not matter.
    `retries` more attempts follow with growing, random pauses, the first of `pause` seconds. While a server says that
    it is asked too much (429, 503), attempts do not count: they go on for `patience` seconds. `parallel` requests run
    at once, and fewer after time-outs and such answers.
    """

    timeout: float = 30.0
    retries: int = 4
    pause: float = 0.25
    parallel: int = 64
    patience: float = 300.0

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.retries < 0 or self.pause < 0 or self.parallel < 1 or self.patience < 0:
            raise ValueError(f"{self}: timeout and parallel must be above 0, retries, pause and patience at least 0")


class PassingError(Exception):
    """A request failed in a way that may pass. `slow`: the server, or the way to it, is asked too much; `throttled`: it
    says so itself; `wait`: it asked for that many seconds."""

    def __init__(self, reason: str, *, slow: bool = False, throttled: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.slow = slow or throttled
        self.throttled = throttled
        self.wait = wait


class Gate:
    """Lets at most `most` requests run at once: half as many after trouble, at most once a second, then one more with
    each round that goes well. Lives on the event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = 0.0
        self._halved = 0.0

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    async def __aenter__(self) -> None:
        while True:
            if (left := self._closed_until - time.monotonic()) > 0:
                await asyncio.sleep(left + random.random() * min(left, 1.0))  # not all at the same moment
            elif self._running < self.allowed:
                self._running += 1
                return
            else:
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                try:
                    await turn
                except asyncio.CancelledError:
                    if turn.done() and not turn.cancelled():
                        self._wake()
                    raise

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1
        self._wake()

    def _wake(self) -> None:
        free = self.allowed - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def well(self) -> None:
        self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)

    def trouble(self, wait: float) -> None:
        now = time.monotonic()
        self._closed_until = max(self._closed_until, now + wait)
        if now - self._halved >= 1.0:
            self._halved = now
            self._allowed = max(1.0, self._allowed / 2)


async def persist(patience: Patience, gate: Gate, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of the first attempt that succeeds. Raises PassingError, with what was tried in its text, when
    patience is at an end; other errors of an attempt are raised at once."""
    failures = 0
    refused = 0
    since: float | None = None
    while True:
        try:
            async with gate:
                result = await attempt()
        except PassingError as error:
            now = time.monotonic()
            wait = min(error.wait, max(patience.patience, 0.0))
            if error.slow:
                gate.trouble(wait)
            if error.throttled:
                since = now if since is None else since
                refused += 1
                if now - since + wait >= patience.patience:
                    raise PassingError(
                        f"{error}; gave up after {patience.patience:g} s of this: use fewer loaders or a smaller "
                        "`parallel`, or a larger `patience` (seconds), both in storage_options"
                    ) from None
                tries = refused
            else:
                failures += 1
                if failures > patience.retries:
                    raise PassingError(f"{error}; gave up after {failures} attempts") from None
                tries = failures
            # Half of the pause is random, so that many loaders do not come back at the same moment.
            pause = min(patience.pause * 2 ** min(tries - 1, 20), LONGEST_PAUSE)
            await asyncio.sleep(max(wait, pause * (0.5 + random.random())))
        else:
            gate.well()
            return result
