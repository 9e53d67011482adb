"""The plan carried out on this machine, by threads or by worker processes.

A few workers are threads: they start at once, and the C++ core, hashing, reading and writing run side by side. A sample
takes about 60 us in Python, under the interpreter's lock; with more workers that would be the limit, so they are
processes. A worker process is a plain Python process that talks over a socket pair (engines/worker.py). When this
process dies, however it dies, its workers see their sockets close and exit; a shard they may still finish is the one
the plan wants.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from concurrent.futures import wait as futures_wait
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from shard_tools.errors import ToolError
from shard_tools.readers import Readers
from shard_tools.shard import Report, ShardResult, ShardTask, write_shard
from shard_tools.sources.base import Container
from shard_tools.target.local_storage import Storage

# glibc gives memory of an image's size back to the kernel at once, and every next image pays for fresh pages: kept
# in one arena up to a bound, it takes a seventh less system time.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
THREADS = 4  # workers at most that are threads
WAITING = 4  # threads at most that wait for the disk while others work


def run(
    tasks: Iterable[ShardTask], containers: Sequence[Container], storage: Storage, workers: int, report: Report
) -> Generator[ShardResult, None, None]:
    """Carry out the tasks; results come in the order of completion. Raises the first ToolError of any worker."""
    if workers <= THREADS:
        yield from _by_threads(tasks, containers, storage, workers, report)
        return
    crew: dict[Connection, Worker] = {}
    todo = iter(tasks)
    files = contextlib.ExitStack()
    try:
        gate = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (closed with `files`)
        for task in itertools.islice(todo, workers):
            worker = Worker(containers, storage, gate.fileno(), workers)
            crew[worker.connection] = worker
            worker.give(task)
        while crew:
            for ready in wait(list(crew)):
                worker = crew[ready]  # type: ignore[index]
                kind, value = worker.receive()
                if kind == "progress":
                    report(*value)
                elif kind == "done":
                    yield value
                    following = next(todo, None)
                    if following is not None:
                        worker.give(following)
                    else:
                        del crew[worker.connection]
                        worker.dismiss()
                else:
                    raise value
    finally:
        for worker in crew.values():
            worker.connection.close()
        for worker in crew.values():
            worker.leave()
        files.close()


class _StoppedError(Exception):
    """Another thread failed, or the user has had enough."""


def _by_threads(
    tasks: Iterable[ShardTask], containers: Sequence[Container], storage: Storage, workers: int, report: Report
) -> Generator[ShardResult, None, None]:
    """A few threads more than cores: some wait for the disk to say that their shard is on it."""
    readers = Readers(containers, at_once=workers)
    stop, lock = threading.Event(), threading.Lock()

    def reported(*counts: int) -> None:
        if stop.is_set():
            raise _StoppedError
        with lock:
            report(*counts)

    todo = iter(tasks)
    threads = workers + min(workers, WAITING)
    pool = ThreadPoolExecutor(threads, "pack")
    try:
        running = {
            pool.submit(write_shard, task, readers, storage, reported) for task in itertools.islice(todo, threads)
        }
        while running:
            done, running = futures_wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running |= {
                    pool.submit(write_shard, task, readers, storage, reported) for task in itertools.islice(todo, 1)
                }
                yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        readers.close()


# `python -m` would look for modules first in the user's current folder, and `python -c` too: a
# file random.py there would be run. A worker looks where this process does.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # an interrupt is the parent's to handle
    f"import sys; sys.path[:] = sys.argv.pop().split({os.pathsep!r}); "
    "from shard_tools.engines.worker import main; main()"
)


def _paths() -> list[str]:
    own = str(Path(__file__).resolve().parents[2])
    paths = [path for path in sys.path if path]
    return paths if own in paths else [*paths, own]


class Worker:
    """One worker process of `workers`: `give` it a task, then `receive` (kind, value) until its result has come.
    `gate`: the open file by which they take turns with large images."""

    def __init__(self, containers: Sequence[Container], storage: Storage, gate: int, workers: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            # Held back also while the interpreter starts; what is held back when it is ignored is forgotten.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _START, *map(str, (descriptor, gate, workers)), os.pathsep.join(_paths())],
                    pass_fds=[descriptor, gate],
                    stdin=subprocess.DEVNULL,
                    env={**ALLOCATOR, **os.environ},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.connection = Connection(ours.detach())
        self.path = ""
        self._send((list(containers), storage))

    def give(self, task: ShardTask) -> None:
        self.path = task.path
        self._send(task)

    def _send(self, what: object) -> None:
        # That a worker is gone is found out, and said, by `receive`.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(what)

    def receive(self) -> tuple[str, Any]:
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            status = self.process.wait()
            ended = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
            memory = (" (out of memory?)", ", with fewer --workers if this repeats")
            cause, advice = memory if status == -signal.SIGKILL else ("", "")
            raise ToolError(
                f"the worker that wrote {self.path} {ended}{cause}; run the same command again to go on{advice}"
            ) from None
        if kind == "crash":
            raise RuntimeError(f"the worker that wrote {self.path} failed:\n{value}")
        return kind, value

    def dismiss(self) -> None:
        self.connection.close()
        self.process.wait()

    def leave(self) -> None:
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
