"""Runs the contestants in turns, round after round, and collects speed and cost of each."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.client import Process
from benchmarks.gpu.contestants import BASELINES, CONTESTANTS
from benchmarks.gpu.gpu_use import FIELDS, GpuUse
from benchmarks.harness import Measurement, ratio_text
from genimage_stream.bench.process import ContestantError


@dataclass
class Outcome:
    """`answers`: by stream and contestant, one a round; `rounds` done by stream; `opened`: how each contestant works.
    By contestant, why: `left_out`, it gave up; `training_failed`; `unfit`, it cannot run on this machine. `no_time`:
    what there was no time for; `restless`: who went on working between its turns."""

    gpu: str | None = None
    answers: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    training: dict[str, dict[str, float]] = field(default_factory=dict)
    training_failed: dict[str, str] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_time: list[str] = field(default_factory=list)
    restless: list[str] = field(default_factory=list)

    def measurements(self, stream: str) -> dict[str, Measurement]:
        """Seconds per image of every round, by contestant."""
        return {
            name: Measurement(name, 1, tuple(one["seconds"] / one["images"] for one in answers))
            for name, answers in self.answers.get(stream, {}).items()
        }

    def cost(self, stream: str, name: str) -> dict[str, float | None]:
        """CPUs kept busy, and the use of the GPU's parts in percent: medians of the rounds that know it."""
        answers = self.answers[stream][name]
        found: dict[str, float | None] = {
            "cpus": statistics.median(one["cpu_seconds"] / one["seconds"] for one in answers)
        }
        for part in FIELDS:
            known = [one[part] for one in answers if one.get(part) is not None]
            found[part] = statistics.median(known) if known else None
        return found

    def baseline(self) -> str | None:
        """The faster of DALI's own pipelines on the mix."""
        measured = self.measurements("mixed")
        there = [name for name in BASELINES if name in measured]
        return max(there, key=lambda name: measured[name].rate, default=None)

    def ratios(self, name: str) -> tuple[float, ...]:
        """How many times as fast as DALI's own on the mix, round by round; empty without it."""
        measured, baseline = self.measurements("mixed"), self.baseline()
        return () if baseline is None or name not in measured else measured[name].ratios(measured[baseline])

    def ratio(self, name: str) -> str:
        ratios = self.ratios(name)
        return ratio_text(ratios) if ratios else "-"


@dataclass(frozen=True)
class Limits:
    """How long the check waits, in seconds; `deadline` by time.monotonic(). `patience` for an answer, `long` for one
    with a search or a training before it; of what is left before the deadline a third at most, so that several that
    hang leave time to the others; but `least`, and twice that for the long ones, however late it is."""

    deadline: float
    patience: float
    long: float
    least: float

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def wait(self, *, long: bool = False) -> float:
        wanted, least = (self.long, 2 * self.least) if long else (self.patience, self.least)
        return max(least, min(wanted, self.left() / 3))


class Contest:
    """The contestants' processes; what they answer goes to `outcome`. Leaving it, by `with`, ends them."""

    def __init__(
        self, names: Sequence[str], setting: Path, limits: Limits, *, rounds: int, seconds: float, steps: int
    ) -> None:
        self.outcome = Outcome()
        self._names, self._setting, self._limits = names, setting, limits
        self._rounds, self._seconds, self.steps = rounds, seconds, steps
        self._running: dict[str, Process] = {}
        self._searched: set[str] = set()
        self._ending = ExitStack()
        self._use = GpuUse(None)

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()
        Process.close_all([*self._running.values()])

    def start(self) -> None:
        """All at once: they import side by side."""
        self._running = {name: Process(name, self._setting) for name in self._names}
        end = time.monotonic() + self._limits.wait(long=True)
        uuid = None
        for name in self._names:
            try:
                about = self._running[name].answer(end - time.monotonic())
            except ContestantError as error:
                self._leave_out(name, error)
            else:
                uuid, self.outcome.gpu = about["uuid"], about["gpu"]
        self._use = self._ending.enter_context(GpuUse(uuid))

    def measure(self, stream: str) -> None:
        """Rounds of a stream; no round begins after the deadline but the first on the mix. A contestant that
        fails takes no further part; its figures of earlier streams are kept."""
        if stream != "mixed" and self._limits.left() <= 0:
            self.outcome.no_time.append(stream)
            return
        takes_part = [name for name in self._running if stream in CONTESTANTS[name].streams]
        for name in takes_part:
            self._open(name, stream)
        for number in range(self._rounds):
            if number and self._limits.left() <= 0:
                break
            present = [name for name in takes_part if name in self._running]
            shift = number % max(1, len(present))
            for name in [*present[shift:], *present[:shift]]:
                self._turn(name, stream, number)
            self.outcome.rounds[stream] = number + 1

    def _open(self, name: str, stream: str) -> None:
        search = CONTESTANTS[name].searches and name not in self._searched
        self._searched.add(name)
        begin = time.monotonic()
        try:
            opened = self._running[name].ask(self._limits.wait(long=search), do="open", stream=stream)
        except ContestantError as error:
            self._leave_out(name, error)
            return
        self.outcome.opened.setdefault(name, opened)
        say(f"{stream}: {name} is open after {time.monotonic() - begin:.0f} s")
        self._rest(name)

    def _turn(self, name: str, stream: str, number: int) -> None:
        answers = self.outcome.answers.setdefault(stream, {})
        try:
            answer = self._running[name].ask(self._limits.wait(), do="rate", stream=stream, seconds=self._seconds)
        except ContestantError as error:
            answers.pop(name, None)  # rounds are compared one by one: half of them is no measurement
            self._leave_out(name, error)
            return
        answer |= self._use.mean(answer["begin"], answer["end"])
        answer["jpeg_peak"] = self._use.peak(answer["begin"], answer["end"])["utilization.jpeg"]
        answers.setdefault(name, []).append(answer)
        say(f"{stream} {number + 1}: {name} {answer['images'] / answer['seconds']:,.0f} images/s")
        self._rest(name)

    def _rest(self, name: str) -> None:
        """One that never rests is waited for once."""
        if name not in self.outcome.restless and not self._running[name].rests():
            self.outcome.restless.append(name)
            say(f"{name} does not come to rest between its turns")

    def train(self, name: str) -> None:
        """A training fed by a contestant. When it fails, the contestant goes on, in a new process if need be."""
        if name not in self._running:
            return
        if self._limits.left() <= 0:
            self.outcome.no_time.append(f"training, {name}")
            return
        request = {"do": "train", "steps": self.steps, "settle": 10 if self.steps > 10 else 1}
        try:
            self.outcome.training[name] = self._running[name].ask(self._limits.wait(long=True), **request)
        except ContestantError as error:
            self.outcome.training_failed[name] = str(error)
            self._tell(name, error)
            if not error.alive:
                self._start_again(name)

    def _start_again(self, name: str) -> None:
        self._running[name].end()
        self._running[name] = Process(name, self._setting)
        try:
            self._running[name].answer(self._limits.wait())
        except ContestantError as error:
            self._leave_out(name, error)

    def _leave_out(self, name: str, error: ContestantError) -> None:
        self.outcome.left_out[name] = str(error)
        self._tell(name, error)
        self._running.pop(name).end()

    def _tell(self, name: str, error: ContestantError) -> None:
        say("\n    ".join([f"gave up: {error}", *self._running[name].last_words()]))


def say(text: str) -> None:
    print(f"gpu_check: {text}", file=sys.stderr, flush=True)
