"""The loop of all downloads."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from genimage_stream.storage.event_loop import hand_over, run


def test_the_failure_of_cancelled_work_is_reported_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Clients answer a cancellation with an error of their own now and then."""
    begun, over = threading.Event(), threading.Event()

    async def fetch() -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            over.set()
            raise OSError("the connection was closed")

    future = hand_over(fetch())
    assert begun.wait(60)
    assert future.cancel()
    del future  # which keeps the task
    assert over.wait(60)
    run(asyncio.sleep(0))
    gc.collect()
    assert caplog.messages == []
