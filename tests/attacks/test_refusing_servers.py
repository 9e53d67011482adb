"""Servers that refuse: for a while, which is waited out with fewer requests, or for good, which is named at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

import genimage_stream as gs
from genimage_stream.storage.patience import Gate, PassingError, Patience, persist
from genimage_stream.storage.remote import RemoteStore
from tests.attacks.test_web_servers import wired
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import Asked, web_of

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


@pytest.mark.parametrize("wire", ["http", "s3"])
@pytest.mark.parametrize("status", [429, 503])
def test_throttling_is_waited_out_and_counts_as_no_attempt(root: Path, wire: str, status: int) -> None:
    left = [30]

    def busy(asked: Asked) -> bool:
        if not asked.is_shard or left[0] == 0:
            return False
        left[0] -= 1
        asked.give(status, b"slow down")
        return True

    with web_of(root, busy) as web:
        address, options = wired(web, wire)
        options |= {"retries": 0, "pause": 0.01, "parallel": 4}
        assert (
            sum(len(batch) for batch in gs.Loader(gs.open_dataset(address, storage_options=options), 8, crop=16)) == 72
        )
    assert left == [0]


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_a_server_that_is_asked_too_much_is_asked_less(root: Path, wire: str) -> None:
    """For a second and a half it refuses all: the pauses grow, so each request is repeated a few times at most."""
    refused: Counter[tuple[Path, int]] = Counter()
    began: list[float] = []

    def busy(asked: Asked) -> bool:
        if not asked.is_shard or (began and time.monotonic() - began[0] > 1.5):
            return False
        began.append(time.monotonic())
        refused[asked.file, asked.start] += 1
        asked.give(429, b"")
        return True

    with web_of(root, busy) as web:
        address, options = wired(web, wire)
        options |= {"retries": 0, "pause": 0.05, "parallel": 16}
        loader = gs.Loader(gs.open_dataset(address, storage_options=options), 8, crop=16)
        assert sum(len(batch) for batch in loader) == 72
    assert max(refused.values()) <= 7  # at least 0.025 s, 0.05 s, ... pass between


def test_retry_after_is_heeded(root: Path) -> None:
    asked_at: list[float] = []

    def busy(asked: Asked) -> bool:
        if asked.is_shard:
            asked_at.append(time.monotonic())
            if len(asked_at) == 1:
                asked.give(503, b"", Retry_After=2)
                return True
        return False

    with web_of(root, busy) as web:
        options = {"retries": 0, "pause": 0.01, "parallel": 1}
        list(gs.Loader(gs.open_dataset(web.address, storage_options=options), 8, crop=16))
    assert asked_at[1] - asked_at[0] >= 2  # whatever the machine has to do besides


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_patience_ends_with_its_option_named(root: Path, wire: str) -> None:
    with web_of(root, lambda asked: not asked.give(429, b"")) as web:
        address, options = wired(web, wire)
        options |= {"retries": 0, "pause": 0.01, "patience": 0.3}
        with pytest.raises(OSError, match=r"dataset\.json: .*429 Too Many.*after 0\.3 s.*`parallel`.*`patience`"):
            gs.open_dataset(address, storage_options=options)


@pytest.mark.parametrize("wire", ["http", "s3"])
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, EXPIRED, r"400 Bad Request \(ExpiredToken: .*have expired; renew them"),
        (403, b"Request has expired", r"403 Forbidden: .*have expired; renew them"),
        (403, b"", "403 Forbidden: check the credentials"),
        (401, b"", "401 Unauthorized: check the credentials"),
        (400, b"", "the server answers 400 Bad Request$"),
        (404, b"", "does not exist"),
    ],
)
def test_what_lasts_is_asked_once_and_named(root: Path, wire: str, status: int, body: bytes, said: str) -> None:
    shard = gs.open_dataset(root).access.shards()[1][0]
    with web_of(root, lambda asked: not asked.give(status, body)) as web:
        address, options = wired(web, wire)
        store = RemoteStore(address, {**options, "pause": 1000})
        with pytest.raises(OSError, match=rf"{address}/{shard}:? .*{said}|{address}/{shard} {said}"):
            store.read_range(shard, 0, 10)
        assert web.shards_asked == 1


@pytest.mark.parametrize("wire", ["http", "s3"])
@pytest.mark.parametrize("status", [405, 501])
def test_a_server_without_head(root: Path, wire: str, status: int) -> None:
    def no_head(asked: Asked) -> bool:
        if asked.command == "HEAD":
            asked.give(status, b"")
        return asked.command == "HEAD"

    with web_of(root, no_head) as web:
        address, options = wired(web, wire)
        assert gs.open_dataset(address, storage_options=options).table() == gs.open_dataset(root).table()


def test_a_head_without_a_length(root: Path) -> None:
    def silent(asked: Asked) -> bool:
        if asked.command == "HEAD":
            asked.give(200, b"", Content_Length=None)
        return asked.command == "HEAD"

    with web_of(root, silent) as web:
        assert len(gs.open_dataset(web.address)) == 72


def test_fewer_requests_at_once_after_trouble() -> None:
    gate = Gate(8)
    assert gate.allowed == 8
    gate.trouble(0)
    gate.trouble(0)  # of the same moment: counts once
    assert gate.allowed == 4
    for _ in range(100):
        gate.well()
    assert gate.allowed == 8

    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        async with gate:
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(0)
            finally:
                running -= 1

    async def all_of_it() -> None:
        cancelled = [asyncio.ensure_future(work()) for _ in range(5)]
        others = [asyncio.ensure_future(work()) for _ in range(40)]
        await asyncio.sleep(0)
        for one in cancelled:
            one.cancel()
        await asyncio.gather(*others)

    gate.trouble(0)
    asyncio.run(all_of_it())
    assert 1 <= most <= 8


def test_attempts_that_time_out_lower_the_number_at_once() -> None:
    gate = Gate(64)

    async def fails() -> None:
        raise PassingError("no byte", slow=True)

    with pytest.raises(PassingError, match="gave up after 1 attempts"):
        asyncio.run(persist(Patience(retries=0), gate, fails))
    assert gate.allowed == 32
