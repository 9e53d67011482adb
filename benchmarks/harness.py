"""Fair measuring on a machine that is not quiet: contestants take turns, medians are compared within one run.

A contestant is a callable that does a fixed piece of work. Every round runs every contestant once, in an order of its
own, so that a slow minute of the machine hits all of them and nobody always comes after the same one. What is compared
is the median of a contestant's rounds; the spread is the distance between its quartiles. Ratios are medians of the
per-round ratios, which a drift of the whole machine leaves alone; for that they need not be the quotient of two
medians, and so their range over the rounds is given too.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from genimage_stream.bench.process import ContestantError

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Contestant:
    """`run` does `units` units of work (images, say) each time it is called. In a turn it is called `repeat` times, and
    the mean of their times counts; `before` comes first and `after` last, both off the clock."""

    name: str
    run: Callable[[], object]
    units: float
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    repeat: int = 1


@dataclass(frozen=True)
class Measurement:
    """One contestant's rounds, in seconds per call, in the order in which they were run."""

    name: str
    units: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.median

    @property
    def spread(self) -> float:
        """Distance between the quartiles over the median; 0.05 is a quiet machine."""
        if len(self.seconds) < 2:
            return 0.0
        # Of the rounds themselves: the other method guesses at rounds beyond them, far out where there are two.
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median

    def times_faster(self, other: Measurement) -> float:
        """How many times as fast as `other`, by the median over the rounds of the same number."""
        return statistics.median(self.ratios(other))

    def ratios(self, other: Measurement) -> tuple[float, ...]:
        """How many times as fast as `other`, round by round."""
        return tuple(
            (theirs / other.units) / (ours / self.units)
            for ours, theirs in zip(self.seconds, other.seconds, strict=True)
        )


def measure(
    contestants: Sequence[Contestant],
    *,
    rounds: int = 9,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    left_out: dict[str, str] | None = None,
) -> dict[str, Measurement]:
    """Run every contestant `warm_up + rounds` times, interleaved. By name, in the order given.

    `clock=time.process_time` counts the process's CPU time: for contestants of one thread each on a machine that others
    use too, where the time on the wall says more about the others. With `left_out`, one that raises ContestantError is
    measured no more and put there, by name with the reason; without, the error ends the measurement.
    """
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    if len(seconds) != len(contestants):
        raise ValueError("two contestants have the same name")
    for number in range(-warm_up, rounds):
        running = [one for one in contestants if one.name in seconds]
        random.Random(number).shuffle(running)
        for one in running:
            try:
                if one.before is not None:
                    one.before()
                begin = clock()
                for _ in range(one.repeat):
                    one.run()
                taken = (clock() - begin) / one.repeat
                if one.after is not None:
                    one.after()
            except ContestantError as error:
                if left_out is None:
                    raise
                left_out[one.name] = str(error)
                del seconds[one.name]
                continue
            if number >= 0:
                seconds[one.name].append(taken)
    return {
        one.name: Measurement(one.name, one.units, tuple(seconds[one.name]))
        for one in contestants
        if one.name in seconds
    }


def machine() -> dict[str, Any]:
    """What the figures stand on: processor, CPUs this process may use, memory, system, interpreter; no host names."""
    facts: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = [line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line]
        fields = {key.strip(): value.strip() for key, value in pairs}
        model = fields.get("model name", facts["processor"])
        numbers = [f"{name} {fields[name]}" for name in ("cpu family", "model", "stepping") if name in fields]
        facts["processor"] = f"{model} ({', '.join(numbers)})" if numbers else model
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        facts["memory_gib"] = round(int(meminfo.read_text().split()[1]) / 2**20, 1)
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution name; "not installed" is said, not left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def table(measurements: Mapping[str, Measurement], *, baseline: str | None = None, unit: str = "img") -> str:
    """Markdown: a row per contestant with rate, spread, and times as fast as `baseline` (lowest to highest)."""
    head = f"| | {unit}/s | spread |" + (f" times {baseline} |" if baseline else "")
    lines = [head, "|---|---:|---:|" + ("---:|" if baseline else "")]
    for name, one in measurements.items():
        ratio = f" {ratio_text(one.ratios(measurements[baseline]))} |" if baseline else ""
        lines.append(f"| {name} | {one.rate:,.0f} | {one.spread:.0%} |{ratio}")
    return "\n".join(lines)


def ratio_text(ratios: Sequence[float]) -> str:
    """The median, and in brackets the lowest and the highest where they differ from it in what is written."""
    low, middle, high = (f"{value:.2f}" for value in (min(ratios), statistics.median(ratios), max(ratios)))
    return middle if low == high else f"{middle} ({low}-{high})"


def as_json(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """Every round of every contestant, so that a reader can compute what the table leaves out."""
    return {
        name: {
            "units": one.units,
            "units_per_second": one.rate,
            "spread": one.spread,
            "seconds": [round(s, 6) for s in one.seconds],
        }
        for name, one in measurements.items()
    }


def write_results(
    name: str,
    title: str,
    sections: Mapping[str, str],
    data: Mapping[str, Any],
    *,
    package_versions: Mapping[str, str],
    remarks: Sequence[str] = (),
    folder: Path = RESULTS,
) -> tuple[Path, Path]:
    """Write `<name>.md` (sections: heading to Markdown) and `<name>.json` (`data`).

    Both begin with date, machine, versions and the command line that this process was started with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts, code = machine(), revision()
    date = time.strftime("%Y-%m-%d")
    lines = [f"# {title}", "", f"Measured {date}. {facts['processor']}, {facts['cpus']} CPUs, "]
    lines[-1] += f"{facts.get('memory_gib', '?')} GiB, {facts['system']}, Python {facts['python']}."
    lines += ["", "Versions: " + ", ".join(f"{key} {value}" for key, value in package_versions.items()) + "."]
    lines += ["", f"Command: `{command_line()}`{f', of commit {code}' if code else ''}."]
    lines += ["", *remarks] if remarks else []
    if facts.get("load", 0) > facts["cpus"] + 1:
        lines += ["", f"Other work ran beside this (load {facts['load']}): times on the wall are too long."]
    for heading, body in sections.items():
        lines += ["", f"## {heading}", "", body]
    markdown, raw = folder / f"{name}.md", folder / f"{name}.json"
    markdown.write_text("\n".join(lines) + "\n")
    document = {"title": title, "date": date, "command": command_line(), "commit": code, "machine": facts}
    document |= {"versions": dict(package_versions), **data}
    raw.write_text(json.dumps(document, indent=1) + "\n")
    return markdown, raw


def revision() -> str:
    """The commit that is measured, "with changes" where files differ from it that are no results or docs; "" outside of
    a git checkout. A copy by scripts/offline_bundle.py has it in a file."""
    if (copied := RESULTS.parents[1] / "COMMIT").exists():
        return copied.read_text().strip()

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
        except OSError:  # a machine without git, to which only the files were copied
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    code = git("rev-parse", "--short=10", "HEAD")
    changed = git("status", "--porcelain", "--", *(f"../*.{kind}" for kind in ("py", "cpp", "hpp", "cu")))
    return f"{code} with changes" if code and changed else code


def command_line() -> str:
    """What to type for this run again, as `python -m benchmarks.decode --rounds 9`; folders by their last name only."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    words = ["python", *(["-m", spec.name.removesuffix(".__main__")] if spec else [Path(sys.argv[0]).name])]
    words += [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(words)
