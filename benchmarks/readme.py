"""Puts the figures of benchmarks/results/end_to_end.json into the README, between its two marks.

python -m benchmarks.readme
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- speed: made by python -m benchmarks.readme -->", "<!-- speed: end -->"


def block(results: dict[str, Any]) -> str:
    """The README's table of one result file, with the machine that it was measured on."""
    mix = results["comparisons"]["mix"]
    lines = ["| | img/s | times webdataset + Pillow | img per CPU second |", "|---|---:|---:|---:|"]
    for title, one in sorted(mix["loaders"].items(), key=lambda item: -item[1]["units_per_second"]):
        lines.append(
            f"| {title} | {one['units_per_second']:,.0f} | {one['times_baseline']:.2f} "
            f"| {mix['images'] / one['cpu_seconds']:,.0f} |"
        )
    machine = results["machine"]
    lines += ["", f"{machine['processor']}, {machine['cpus']} CPUs, {results['threads']} threads or workers each,"]
    lines += [
        f"medians of {results['rounds']} rounds in which every loader has its turn. How each was measured, and what"
    ]
    lines += ["is not the same about it: [benchmarks/results/end_to_end.md](benchmarks/results/end_to_end.md)."]
    lines += ["", "![Bar chart of the same figures](benchmarks/results/end_to_end.svg)"]
    return "\n".join(lines)


def main() -> int:
    """Rewrite the part of the README between the marks."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        print(f"{README} has no place for the table: the marks are gone", file=sys.stderr)
        return 2
    results = json.loads((RESULTS / "end_to_end.json").read_text())
    README.write_text(f"{head}{BEGIN}\n{block(results)}\n{END}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
