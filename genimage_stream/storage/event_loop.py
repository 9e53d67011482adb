"""The event loop of all downloads of a process: one thread, beside which obstore works outside of the interpreter."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from genimage_stream.storage.patience import Gate

T = TypeVar("T")

_lock = threading.Lock()
_waiting: set[concurrent.futures.Future[Any]] = set()  # the threads in `run` wait for these
_running: tuple[int, asyncio.AbstractEventLoop, dict[tuple[str, int], Gate]] | None = None


def _start() -> tuple[int, asyncio.AbstractEventLoop, dict[tuple[str, int], Gate]]:
    global _running  # noqa: PLW0603 - one loop per process
    with _lock:
        if _running is not None and _running[0] != os.getpid():
            # A new loop would not help: obstore's threads stay with the parent too, and the loop would wait for them.
            raise RuntimeError(
                "this process was forked from one that had used an object store, and obstore does not survive a fork: "
                'start processes by forkserver or spawn, e.g. DataLoader(..., multiprocessing_context="forkserver"), '
                "or use the loader itself, whose threads do the same work"
            )
        if _running is None:
            loop = asyncio.new_event_loop()
            loop.set_task_factory(_task)
            thread = threading.Thread(target=loop.run_forever, name="genimage-stream-fetch", daemon=True)
            thread.start()
            atexit.register(_stop, os.getpid(), loop, thread)
            _running = (os.getpid(), loop, {})
        return _running


def _task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """A task whose failure asyncio does not report: it fails in the future of `hand_over`, and nobody takes it from
    there once the consumer has cancelled that."""
    task = asyncio.Task(work, loop=loop, **options)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _stop(pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if pid == os.getpid():
        for future in list(_waiting):  # a decoder's thread may be waiting for bytes that will never come
            future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        # A thread of obstore may still be inside Python, where it woke this loop: Python ends threads that want to go
        # on after this point, and that aborts the process when there is Rust below them.
        deadline = time.monotonic() + 1
        while _foreign_threads() and time.monotonic() < deadline:
            time.sleep(0.001)


def _foreign_threads() -> set[int]:
    """Threads inside Python that Python did not start."""
    return sys._current_frames().keys() - {thread.ident for thread in threading.enumerate()}


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def hand_over(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start work on the event loop. Raises RuntimeError in a process that was forked after the loop was started."""
    try:
        loop = _start()[1]
    except BaseException:
        work.close()  # it will never run
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)


def gate(server: str, parallel: int) -> Gate:
    """A limit on the requests that run at once, shared by all stores of a server that set the same limit."""
    return _start()[2].setdefault((server, parallel), Gate(parallel))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run work on the event loop and return its result."""
    future = hand_over(work)
    _waiting.add(future)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        _waiting.discard(future)
