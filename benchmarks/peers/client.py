"""A peer in its own process, seen from the harness: started once, asked for one epoch at a time.

Whatever becomes of the peer (it dies, hangs, writes nonsense) is a ContestantError here, and its processes are ended.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers import Work
from benchmarks.process import ROOT, Process
from genimage_stream.bench.process import ContestantError, usage

START_SECONDS = 1200.0  # to import, and to convert the shards where the peer has a format of its own
EPOCH_SECONDS = 300.0  # the slowest peer takes a tenth of it
REST_SECONDS = 60.0  # for a peer to fill its queues after an epoch
CLOSE_SECONDS = 20.0  # for a peer and its workers to end


class PeerProcess:
    """Context manager. `epoch()` runs one epoch and returns its measurements; `answers` keeps them all."""

    def __init__(self, name: str, work: Work, python: str = sys.executable) -> None:
        scratch = Path(work.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        work_path, log = scratch / "work.json", scratch / "log.txt"
        work.save(work_path)
        # Results quote errors, and what is quoted must not name a folder of this machine.
        self.log_path = log.relative_to(ROOT) if log.is_relative_to(ROOT) else Path(log.name)
        self._process = Process(name, "benchmarks.peers.serve", work_path, log, python)
        self._peak_mib, self._threads = 0.0, 0
        self.answers: list[dict[str, Any]] = []
        self.about = self._ask(START_SECONDS)

    def _ask(self, patience: float, what: str = "") -> dict[str, Any]:
        """The answer to `what`; the most memory and threads seen meanwhile put into it."""
        self._peak_mib, self._threads = 0.0, 0
        try:
            if what:
                self._process.send(do=what)
            answer = self._process.answer(patience, self._look)
        except ContestantError as error:
            self._process.end()
            raise ContestantError(f"{error}; its output is in {self.log_path}") from None
        for name, most in (("peak_mib", round(self._peak_mib, 1)), ("threads", self._threads)):
            if name in answer:
                answer[name] = max(answer[name], most)
        return answer

    def _look(self) -> None:
        _, peak_mib, threads = usage(self.pid)
        self._peak_mib, self._threads = max(self._peak_mib, peak_mib), max(self._threads, threads)

    @property
    def pid(self) -> int:
        return self._process.pid

    def settle(self) -> None:
        """Before the clock of an epoch: a peer that has batches ready from before hands them over."""
        if self.about["settles"]:
            self._ask(EPOCH_SECONDS, "settle")

    def rest(self) -> None:
        """After the clock of an epoch: wait until the peer's processes are idle. Some fetch ahead for the next epoch,
        which would take the cores from the next peer."""
        if not self._process.rests(REST_SECONDS):
            self._process.end()
            raise ContestantError(f"{self._process.name}: still at work {REST_SECONDS:g} seconds after its epoch")

    def epoch(self) -> dict[str, Any]:
        """One epoch: images, seconds, cpu_seconds, peak_mib, threads."""
        self.answers.append(self._ask(EPOCH_SECONDS, "epoch"))
        return self.answers[-1]

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Process.close_all([self._process], CLOSE_SECONDS)
