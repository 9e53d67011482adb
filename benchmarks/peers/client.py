"""A peer in its own process, seen from the harness: started once, asked for one epoch at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers import Work

ROOT = Path(__file__).resolve().parents[2]


class PeerError(RuntimeError):
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
        )
        self.answers: list[dict[str, Any]] = []
        try:
            self.about = self._answer()
        except PeerError:
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: ended without an answer; its output is in {self.log_path}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.name}: {answer['error']}; its output is in {self.log_path}")
        return answer

    def epoch(self) -> dict[str, Any]:
        """One epoch: images, seconds, cpu_seconds, peak_mib, threads. Raises PeerError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("epoch\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"{self.name}: has ended; its output is in {self.log_path}") from None
        self.answers.append(self._answer())
        return self.answers[-1]

    def close(self) -> None:
        """End the process, waiting for its workers."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
