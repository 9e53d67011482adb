"""Puts the committed results into README.md and docs/scaling.md, between their marks, so that every figure is theirs.

    python -m benchmarks.readme            rewrites what is between the marks; tests compare it with the results

The parts: `speed` from end_to_end.json, `demo` from demo.json, `prediction` computed from scaling.json and
index_size.json by `benchmarks.model`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import model
from benchmarks.end_to_end import BASELINE
from benchmarks.harness import RESULTS, ratio_text

ROOT = Path(__file__).resolve().parents[1]


def result(name: str) -> dict[str, Any]:
    """A committed result. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def speed() -> str:
    """The README's table of all loaders, with the machine that it was measured on."""
    results = result("end_to_end")
    mix = results["comparisons"]["mix"]
    baseline = mix["loaders"].get(BASELINE, {}).get("seconds", [])
    lines = [f"| | img/s | times {BASELINE} (lowest-highest) | img per CPU second |", "|---|---:|---:|---:|"]
    for title, one in sorted(mix["loaders"].items(), key=lambda item: -item[1]["units_per_second"]):
        ratios = [theirs / ours for theirs, ours in zip(baseline, one["seconds"], strict=bool(baseline))]
        ratio = ratio_text(ratios) if ratios else ""
        lines.append(
            f"| {title} | {one['units_per_second']:,.0f} | {ratio} | {mix['images'] / one['cpu_seconds']:,.0f} |"
        )
    machine, rounds, threads = results["machine"], results["rounds"], results["threads"]
    lines += ["", *(f"Left out: {why}." for why in mix["left_out"].values())] if mix["left_out"] else []
    lines += [] if baseline else ["", f"There are no ratios, because {BASELINE} is not among the loaders measured."]
    lines += ["", f"{machine['processor']}, {machine['cpus']} CPUs, {threads} threads or workers each,"]
    lines += [
        f"medians of {rounds} rounds in which every loader has its turn; ratios are medians of those within a round,"
    ]
    lines += ["and their range, so they need not be quotients of the first column. How each was measured, and what is"]
    lines += ["not the same about it: [benchmarks/results/end_to_end.md](benchmarks/results/end_to_end.md)."]
    lines += ["", "![Bar chart of the same figures](benchmarks/results/end_to_end.svg)"]
    return "\n".join(lines)


def demo() -> str:
    """The table that `make demo` printed."""
    return str(result("demo")["table"])


def prediction() -> str:
    return model.prediction(*model.load())


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "speed": ("README.md", speed),
    "demo": ("README.md", demo),
    "prediction": ("docs/scaling.md", prediction),
}


def marked(part: str) -> re.Pattern[str]:
    """What lies between a part's marks is group 2."""
    return re.compile(rf"(<!-- {part}: [^>]*-->\n)(.*?)(\n<!-- {part}: end -->)", re.DOTALL)


def main() -> int:
    """Rewrite the parts between their marks, and the prediction's chart."""
    for part, (name, make) in PARTS.items():
        path = ROOT / name
        text, count = marked(part).subn(lambda found, make=make: found[1] + make() + found[3], path.read_text())  # type: ignore[misc]
        if count != 1:
            print(f"{name} has no place for the part {part}: the marks are gone", file=sys.stderr)
            return 2
        path.write_text(text)
    (RESULTS / "prediction.svg").write_text(model.chart(*model.load()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
