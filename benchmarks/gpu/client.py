"""A contestant's process as the check sees it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.needs import ROOT


class ContestantError(RuntimeError):
    """A contestant could not start, gave up or took too long; says what it said last."""


class Process:
    """Starts at once; `ask` waits. A contestant that does not answer in time is ended: the others need theirs."""

    def __init__(self, name: str, setting: Path, timeout_seconds: float) -> None:
        self.name = name
        self._timeout = timeout_seconds
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

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(self._timeout):
                self._process.kill()
                raise ContestantError(f"{self.name}: no answer within {self._timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            said = self.log.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise ContestantError(f"{self.name}: ended without an answer; it said last: {said[0]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(f"{self.name}: {answer['error']}")
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContestantError(f"{self.name}: has ended") from None
        return self.answer()

    def close(self) -> None:
        """End it, and its workers with it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
