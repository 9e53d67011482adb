"""Loaders that are compared, in processes of their own: both ends of the pipe, and what a process uses.

They may need different environments and must not share an interpreter's lock, its memory or its end. Requests go to
standard input and answers come from standard output, a JSON object a line; everything that libraries print goes to a
log. `Process` is the asking side, `serve` the answering one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.4  # between two looks at memory and threads, which some contestants end with their turn
QUIET_SECONDS = 0.1  # in which a resting process uses less CPU time than ...
QUIET_CPU = 0.015  # ... this: one tick of the clock
LAST_WORDS = 12  # lines of a log that are shown

Request = dict[str, Any]
Answer = dict[str, Any]


class ContestantError(RuntimeError):
    """A contestant could not do what was asked; the message says why. `alive`: it can be asked for other things."""

    def __init__(self, message: str, *, alive: bool = False) -> None:
        super().__init__(message)
        self.alive = alive


def process_tree(root: int) -> list[int]:
    """The process and all its descendants, by /proc."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # the thread has ended
                continue
    return found


def usage(root: int) -> tuple[float, float, int]:
    """CPU seconds spent so far, peak resident MiB (summed over the processes) and threads of a process tree.

    Of processes and threads that exist now: what ends with a turn is seen by looking during it.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = peak = 0.0
    threads = 0
    for pid in process_tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        seconds += sum(int(field) for field in fields[11:15]) / ticks
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        peak += int(values.get("VmHWM", "0 kB").split()[0]) / 1024
        threads += int(values.get("Threads", "0"))
    return seconds, peak, threads


class Process:
    """Starts `command` at once, in `folder` or in this process's own; `answer` waits. A process that does not answer in
    time is ended: the others need the machine. Raises ContestantError, whose `alive` says whether it can be asked for
    other things."""

    def __init__(self, name: str, command: Sequence[str], log: Path, folder: Path | None = None) -> None:
        self.name = name
        self.log = log
        self._unread = b""
        self._asked = time.monotonic()
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # so that workers which outlive it can be ended
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self, patience: float, look: Callable[[], None] | None = None) -> Answer:
        """The next answer, within `patience` seconds; `look` is called now and then meanwhile."""
        line = self._line(patience, look)
        if line is None:
            raise ContestantError(f"{self.name}: {self._ended()}")
        try:
            answer: Answer = json.loads(line)
        except ValueError:
            self.end()
            raise ContestantError(f"{self.name}: answered nonsense") from None
        if "error" in answer:
            raise ContestantError(f"{self.name}: {answer['error']}", alive=True)
        return answer

    def _line(self, patience: float, look: Callable[[], None] | None) -> bytes | None:
        """The next one; None at the end. Read from the pipe itself: of two lines, a file object would take both at once
        and leave nothing to wait for."""
        assert self._process.stdout is not None
        end = time.monotonic() + patience
        pause = SAMPLE_SECONDS / 4
        answers = select.poll()  # select() takes no descriptor above 1,023
        answers.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._unread:
            left = max(0.0, end - time.monotonic())
            if answers.poll(1000 * (min(left, pause) if look else left)):
                if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                    return None
                self._unread += more
            elif time.monotonic() >= end:
                waited = time.monotonic() - self._asked
                self.end()
                raise ContestantError(f"{self.name}: no answer within {waited:.0f} s")
            elif look:
                look()
                pause = SAMPLE_SECONDS
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

    def ask(self, patience: float, **request: Any) -> Answer:
        self.send(**request)
        return self.answer(patience)

    def rests(self, seconds: float = 10.0) -> bool:
        """Waits until its processes are idle: one that fetches ahead takes CPUs from the next contestant.
        Returns whether they became idle within `seconds`."""
        end = time.monotonic() + seconds
        now, quiet = usage(self.pid)[0], 0
        while quiet < 2:  # one could fall between two pieces of work
            if time.monotonic() > end:
                return False
            time.sleep(QUIET_SECONDS)
            before, now = now, usage(self.pid)[0]
            quiet = quiet + 1 if now - before <= QUIET_CPU else 0
        return True

    def last_words(self) -> list[str]:
        """The end of what it wrote to standard error."""
        return self.log.read_text(errors="replace").strip().splitlines()[-LAST_WORDS:]

    def _ended(self) -> str:
        return f"ended without an answer{self._how()}"

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
        self._kill(workers)

    def _workers(self) -> list[int]:
        return process_tree(self.pid)[1:] if self._process.poll() is None else []

    def _kill(self, workers: Iterable[int]) -> None:
        """The process and its session, and `workers`, which may have sessions of their own."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        for worker in workers:
            with contextlib.suppress(OSError):
                os.kill(worker, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps its process
            self._process.wait(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # of a request that it was too dead to read
                pipe.close()

    @staticmethod
    def close_all(processes: Sequence[Process], seconds: float = 3.0) -> None:
        """End them and their workers: all are told first, then have `seconds` together."""
        workers = {one: one._workers() for one in processes}
        for one in processes:
            assert one._process.stdin is not None
            with contextlib.suppress(OSError):  # of a request that it was too dead to read
                one._process.stdin.close()
        end = time.monotonic() + seconds
        for one in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one._process.wait(timeout=max(0.0, end - time.monotonic()))
        for one in processes:
            one._kill(workers[one])


def serve(start: Callable[[], tuple[Answer, Callable[[Request], Answer]]]) -> None:
    """The process's side: says what `start` says about itself, then answers requests by the function that `start`
    returned, until standard input ends. An exception is an answer too, {"error"}; the asking side decides whether to go
    on."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # of `Process.end`
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not end up among the answers

    def failed(error: Exception) -> Answer:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}

    try:
        about, answer = start()
        print(json.dumps(about), file=answers)
    except Exception as error:
        print(json.dumps(failed(error)), file=answers)
        return
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as error:  # whatever a contestant raises is the answer
            found = failed(error)
        print(json.dumps(found), file=answers)
