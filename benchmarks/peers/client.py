"""A peer in its own process, seen from the harness: started once, asked for one epoch at a time.

Whatever becomes of the peer (it dies, hangs, writes nonsense) is a PeerError here, and its processes are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.harness import ContestantError
from benchmarks.peers import Work
from benchmarks.peers.serve import usage

ROOT = Path(__file__).resolve().parents[2]


START_SECONDS = 1200.0  # to import, and to convert the shards where the peer has a format of its own
EPOCH_SECONDS = 300.0  # the slowest peer takes a tenth of it
SAMPLE_SECONDS = 0.4  # between two looks at memory and threads, which some peers end with their epoch
REST_SECONDS = 60.0  # for a peer to fill its queues after an epoch
QUIET_SECONDS = 0.1  # in which a resting peer uses less CPU time than ...
QUIET_CPU = 0.015  # ... this: one tick of the clock


class PeerError(ContestantError):
    """The peer could not be started or did not do the work; says what it said."""


class PeerProcess:
    """Context manager. `epoch()` runs one epoch and returns its measurements; `answers` keeps them all."""

    def __init__(self, name: str, work: Work, python: str = sys.executable) -> None:
        self.name = name
        scratch = Path(work.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        work_path = scratch / "work.json"
        work.save(work_path)
        log_path = scratch / "log.txt"
        self._log = log_path.open("w")
        # Results quote errors, and what is quoted must not name a folder of this machine.
        self.log_path = log_path.relative_to(ROOT) if log_path.is_relative_to(ROOT) else Path(log_path.name)
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.serve", name, str(work_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # so that its workers can be ended with it
        )
        self.answers: list[dict[str, Any]] = []
        self.about = self._answer(START_SECONDS)

    def _answer(self, patience: float) -> dict[str, Any]:
        """The next answer, within `patience` seconds; the most memory and threads seen meanwhile put into it."""
        try:
            line, peak, threads = self._wait(patience)
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise PeerError(f"{self.name}: {answer['error']}; its output is in {self.log_path}")
        except ValueError:
            self.close(patience=0)
            raise PeerError(f"{self.name}: answered nonsense; its output is in {self.log_path}") from None
        except PeerError:
            self.close(patience=0)
            raise
        for name, most in (("peak_mib", round(peak, 1)), ("threads", threads)):
            if name in answer:
                answer[name] = max(answer[name], most)
        return answer

    def _wait(self, patience: float) -> tuple[str, float, int]:
        """(line, peak MiB, threads)."""
        assert self._process.stdout is not None
        end, pause = time.monotonic() + patience, SAMPLE_SECONDS / 4
        peak, threads = 0.0, 0
        while not select.select([self._process.stdout], [], [], pause)[0]:
            if time.monotonic() > end:
                raise PeerError(f"{self.name}: no answer in {patience:g} seconds; its output is in {self.log_path}")
            _, now_mib, now_threads = usage(self._process.pid)
            peak, threads = max(peak, now_mib), max(threads, now_threads)
            pause = SAMPLE_SECONDS
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: ended without an answer; its output is in {self.log_path}")
        return line, peak, threads

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ended, or closed
            self.close(patience=0)
            raise PeerError(f"{self.name}: has ended; its output is in {self.log_path}") from None
        return self._answer(EPOCH_SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    def settle(self) -> None:
        """Before the clock of an epoch: a peer that has batches ready from before hands them over. Raises PeerError."""
        if self.about.get("settles"):
            self._ask("settle")

    def rest(self) -> None:
        """After the clock of an epoch: wait until the peer's processes are idle. Some fetch ahead for the next epoch,
        which would take the cores from whoever's turn it is then. Raises PeerError when it does not end."""
        end = time.monotonic() + REST_SECONDS
        now, quiet = usage(self._process.pid)[0], 0
        while quiet < 2:  # one could fall between two pieces of work
            if time.monotonic() > end:
                self.close(patience=0)
                raise PeerError(f"{self.name}: still at work {REST_SECONDS:g} seconds after its epoch")
            time.sleep(QUIET_SECONDS)
            before, now = now, usage(self._process.pid)[0]
            quiet = quiet + 1 if now - before <= QUIET_CPU else 0

    def epoch(self) -> dict[str, Any]:
        """One epoch: images, seconds, cpu_seconds, peak_mib, threads. Raises PeerError."""
        self.answers.append(self._ask("epoch"))
        return self.answers[-1]

    def close(self, patience: float = 20) -> None:
        """End the process and its workers, which have `patience` seconds to do it themselves."""
        if self._log.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # of its session: workers that outlived it too
        self._process.wait()
        self._log.close()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
