"""A contestant's process as the check sees it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.gpu.needs import ROOT
from benchmarks.peers.client import QUIET_CPU, QUIET_SECONDS
from benchmarks.peers.serve import process_tree, usage

_LAST_WORDS = 12  # lines of a log that are shown


class ContestantError(RuntimeError):
    """A contestant could not do what was asked; says what it said last. `alive`: it can be asked for other things."""

    def __init__(self, message: str, *, alive: bool = False) -> None:
        super().__init__(message)
        self.alive = alive


class Process:
    """Starts at once; `answer` waits, `patience` seconds. Who does not answer in time is ended: the others need it."""

    def __init__(self, name: str, setting: Path) -> None:
        self.name = name
        self._unread = b""
        self._asked = time.monotonic()
        self.log = setting.with_name(f"{name}.log")
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.serve", name, str(setting)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def answer(self, patience: float) -> dict[str, Any]:
        line = self._line(patience)
        if line is None:
            said = self.last_words()[-1:] or ["nothing"]
            raise ContestantError(f"{self.name}: ended without an answer{self._how()}; it said last: {said[0]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(f"{self.name}: {answer['error']}", alive=True)
        return answer

    def _line(self, patience: float) -> bytes | None:
        """The next one; None at the end. Read from the pipe itself: of two lines, a file object would take both at once
        and leave nothing to wait for."""
        assert self._process.stdout is not None
        end = time.monotonic() + patience
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not ready.select(max(0.0, end - time.monotonic())):
                    self.end()
                    raise ContestantError(f"{self.name}: no answer within {time.monotonic() - self._asked:.0f} s")
                if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                    return None
                self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def send(self, **request: Any) -> None:
        """Without waiting for the answer."""
        assert self._process.stdin is not None
        self._asked = time.monotonic()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it ended by itself, or its standard input is closed
            raise ContestantError(f"{self.name}: has ended{self._how()}") from None

    def ask(self, patience: float, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.answer(patience)

    def rests(self, seconds: float = 10.0) -> bool:
        """Waits until its processes are idle: who fetches ahead takes the CPUs of whoever's turn is next. Whether they
        were in so many seconds."""
        end = time.monotonic() + seconds
        now, quiet = usage(self._process.pid)[0], 0
        while quiet < 2:  # one could fall between two pieces of work
            if time.monotonic() > end:
                return False
            time.sleep(QUIET_SECONDS)
            before, now = now, usage(self._process.pid)[0]
            quiet = quiet + 1 if now - before <= QUIET_CPU else 0
        return True

    def last_words(self) -> list[str]:
        """The end of what it wrote to standard error."""
        return self.log.read_text(errors="replace").strip().splitlines()[-_LAST_WORDS:]

    def _how(self) -> str:
        """The signal, if one ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)
            return f" by {signal.Signals(-code).name}" if code < 0 else ""
        return ""

    def end(self) -> None:
        """At once, and its workers with it; where it hangs, it writes to its log first."""
        workers = self._workers()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.send_signal(signal.SIGUSR1)
            self._process.wait(timeout=0.5)
        self._process.kill()
        _kill(workers)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps its process
            self._process.wait(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # of a request that it was too dead to read
                pipe.close()

    def _workers(self) -> list[int]:
        return process_tree(self._process.pid)[1:] if self._process.poll() is None else []

    @staticmethod
    def close_all(processes: Iterable[Process], seconds: float = 3.0) -> None:
        """End them and their workers: all are told first, and then have so many seconds together."""
        processes = list(processes)
        workers = [pid for one in processes for pid in one._workers()]
        for one in processes:
            assert one._process.stdin is not None
            with contextlib.suppress(OSError):  # of a request that it was too dead to read
                one._process.stdin.close()
        end = time.monotonic() + seconds
        for one in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one._process.wait(timeout=max(0.0, end - time.monotonic()))
        for one in processes:
            one._process.kill()
        _kill(workers)
        for one in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps its process
                one._process.wait(timeout=1)
            assert one._process.stdout is not None
            one._process.stdout.close()


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
