"""The contestants in turn, round after round, each in its process; how fast, at what cost."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.client import ContestantError, Process
from benchmarks.gpu.contestants import BASELINES, CONTESTANTS, TRAINING
from benchmarks.gpu.gpu_use import FIELDS, GpuUse
from benchmarks.gpu.setting import STREAMS
from benchmarks.harness import Measurement, ratio_text


@dataclass
class Outcome:
    """`answers`: by stream and contestant, one a round; `left_out`: why, by contestant; `rounds` done by stream."""

    gpu: str | None = None
    answers: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    training: dict[str, dict[str, float]] = field(default_factory=dict)

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


def run(
    names: Sequence[str],
    setting: Path,
    *,
    rounds: int,
    seconds: float,
    steps: int,
    deadline: float,
    patience: float,
) -> Outcome:
    """Everything that is timed. No round begins after `deadline` (of time.monotonic()) but the first of each stream;
    `steps` of training, 0 for none. A contestant that does not answer for `patience` seconds is out."""
    outcome = Outcome()
    with ExitStack() as stack:
        running: dict[str, Process] = {}
        uuid = None
        for name in names:  # all at once: they import first, side by side
            running[name] = Process(name, setting, patience)
            stack.callback(running[name].close)
        for name in names:
            if (about := _try(outcome, running, name)) is not None:
                uuid, outcome.gpu = about["uuid"], about["gpu"]
        with GpuUse(uuid) as use:
            for stream in STREAMS:
                takes_part = [name for name in names if stream in CONTESTANTS[name].streams]
                for name in takes_part:
                    _try(outcome, running, name, do="open", stream=stream)
                for number in range(rounds):
                    if number and time.monotonic() > deadline:
                        break
                    present = [name for name in takes_part if name in running]
                    shift = number % max(1, len(present))
                    for name in [*present[shift:], *present[:shift]]:
                        answer = _try(outcome, running, name, do="rate", stream=stream, seconds=seconds)
                        if answer is not None:
                            answer |= use.mean(answer["begin"], answer["end"])
                            outcome.answers.setdefault(stream, {}).setdefault(name, []).append(answer)
                            _say(f"{stream} {number + 1}: {name} {answer['images'] / answer['seconds']:,.0f} images/s")
                    outcome.rounds[stream] = number + 1
        for name in [name for name in TRAINING if name in running] if steps else []:
            if outcome.training and time.monotonic() > deadline:
                break
            answer = _try(outcome, running, name, do="train", steps=steps, settle=10 if steps > 10 else 1)
            if answer is not None:
                outcome.training[name] = answer
    for answers in outcome.answers.values():
        for name in outcome.left_out:
            answers.pop(name, None)  # rounds are compared one by one: half of them is no measurement
    return outcome


def _try(outcome: Outcome, running: dict[str, Process], name: str, **request: Any) -> dict[str, Any] | None:
    """What a contestant answers; None, and it is out, when it does not."""
    if name not in running:
        return None
    try:
        return running[name].ask(**request) if request else running[name].answer()
    except ContestantError as error:
        outcome.left_out[name] = str(error)
        del running[name]
        _say(f"left out: {error}")
        return None


def _say(text: str) -> None:
    print(f"gpu_check: {text}", file=sys.stderr, flush=True)
