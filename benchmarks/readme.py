"""Puts the committed results into README.md and docs, between their marks, so that every figure is theirs.

    python -m benchmarks.readme            rewrites what is between the marks; tests compare it with the results

The parts: `speed` from end_to_end.json, `demo` from demo.json, `prediction` computed from scaling.json and
index_size.json by `benchmarks.model`, `crop-ready` from crop_ready.json and recoding.json, `transforms` from
transforms.json, `nodes` from nodes.json.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import model, nodes
from benchmarks.comparison import BASELINE, compared_with, times_heading
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
    loaders = mix["loaders"]
    peers = compared_with({title: one["units_per_second"] for title, one in loaders.items()}, BASELINE)
    times = "".join(f" {times_heading(peer)} |" for peer in peers)
    lines = [f"| | img/s |{times} img per CPU second |", "|---|---:|" + "---:|" * len(peers) + "---:|"]
    for title, one in sorted(loaders.items(), key=lambda item: -item[1]["units_per_second"]):
        ratios = [
            ratio_text([theirs / ours for theirs, ours in zip(loaders[peer]["seconds"], one["seconds"], strict=True)])
            for peer in peers
        ]
        shown = "".join(f" {ratio} |" for ratio in ratios)
        lines.append(f"| {title} | {one['units_per_second']:,.0f} |{shown} {mix['images'] / one['cpu_seconds']:,.0f} |")
    machine, rounds, threads = results["machine"], results["rounds"], results["threads"]
    lines += ["", *(f"Left out: {why}." for why in mix["left_out"].values())] if mix["left_out"] else []
    missing = f"There are no ratios to {BASELINE}, which is not among the loaders measured."
    lines += [] if BASELINE in loaders else ["", missing]
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


def nodes_tables() -> str:
    """How random orders are on several nodes, and what they fetch."""
    results = result("nodes")
    return "\n".join([nodes.stray_table(results["strays"]), "", nodes.traffic_table(results["traffic"])])


def crop_ready() -> str:
    """Size and speed of the crop-ready form by kind, with the sentences about JPEGs and packing."""
    report, recoding = result("crop_ready"), result("recoding")
    machine, rows = report["machine"], report["results"]
    pngs = [kind for kind in rows if kind.startswith("png")]
    pngs.sort(key=lambda kind: (int(kind.split()[1]), kind))

    def best_peer(kind: str) -> float:
        """Microseconds."""
        return min(float(row["crop_us"]) for row in rows[kind] if str(row["what"]).endswith("full decode"))

    def times(kind: str, row: Mapping[str, Any]) -> str:
        return f"{math.floor(10 * best_peer(kind) / row['crop_us']) / 10:g}x"

    lines = [
        "Stored size against the originals, and speed of a 224 crop against a full decode of the original by the best "
        f"of Pillow, OpenCV, simplejpeg and imagecodecs ({report['per_kind']} images of each kind, one thread, CPU "
        f"time, medians; {machine['cpus']} CPUs, {machine['processor']}; ratios are cut, not rounded):",
        "",
        f"| | {' | '.join(pngs)} |",
        "|---|" + "---|" * len(pngs),
    ]
    for number, row in enumerate(rows[pngs[0]]):
        cells = [rows[kind][number] for kind in pngs]
        if "size" in row:
            name = ", ".join(f"{key} {value}" for key, value in row["what"].items())
            shown = [f"{one['size']:.3f}, {times(kind, one)}" for kind, one in zip(pngs, cells, strict=True)]
        elif str(row["what"]).startswith("plain"):
            name, shown = row["what"], [f"1, {times(kind, one)}" for kind, one in zip(pngs, cells, strict=True)]
        else:
            continue
        lines.append(f"| {name} | {' | '.join(shown)} |")
    lines += ["", "JPEGs, by the width of a restart interval in pixels (65535: a row of the image):", ""]
    lines += [
        "| interval | size | speed | whole image by libjpeg-turbo | by our decoder |",
        "|---|---|---|---|---|",
    ]
    without, *whole = report["whole_jpegs"]
    for row in rows["jpeg"]:
        width = row["what"].get("interval_width") if isinstance(row["what"], dict) else None
        if width is not None:
            one = next(other for other in whole if other["what"]["interval_width"] == width)
            costs = [f"{one[f'{path}_us'] / without[f'{path}_us']:.2f}" for path in ("libjpeg", "auto")]
            lines.append(f"| {width} | {row['size']:.3f} | {times('jpeg', row)} | {' | '.join(costs)} |")
    (plain,) = (row for row in rows["jpeg"] if str(row["what"]).startswith("plain"))
    lines += [
        "",
        f"A crop of the plain JPEG: {times('jpeg', plain)}. The last two columns are what a decode of the whole image "
        "takes with restart intervals, against the same coefficients without.",
        "All figures: [crop-ready-table.md](crop-ready-table.md).",
    ]
    kinds = recoding["kinds"]
    growth = {kind: one["stored_bytes"] / one["bytes"] - 1 for kind, one in kinds.items()}
    each = recoding["pack --crop-ready --workers 1"]["units_per_second"]
    lines += [
        "",
        "Recoding in `pack --crop-ready`, decoding and proof included, on GenImage's mix: "
        f"{each:.0f} images per second with one worker, whole command, and stored size {growth['all']:+.1%}; of its "
        f"PNGs 1024 {growth['PNG 1024']:+.1%}, of its progressive JPEGs {growth['JPEG, progressive']:+.1%}",
        "([benchmarks/results/recoding.md](../benchmarks/results/recoding.md), `python -m benchmarks.recoding`).",
    ]
    return "\n".join(lines)


def transforms() -> str:
    """The tables of recipes and of single steps."""
    if not (RESULTS / "transforms.json").exists():
        return "No figures are recorded yet; `python -m benchmarks.transforms` measures them on your machine."
    results = result("transforms")
    machine, tables = results["machine"], results["tables"]
    lines = [
        f"{machine['processor']}, {machine['cpus']} CPUs, {results['threads']} threads or workers, medians of "
        f"{results['rounds']} rounds. What each column is:",
        "[benchmarks/results/transforms.md](../benchmarks/results/transforms.md).",
        "",
        tables["recipes"],
        "",
        "Each step on one thread, in microseconds an image, without drawing its values:",
        "",
        tables["steps"],
    ]
    return "\n".join(lines)


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "speed": ("README.md", speed),
    "demo": ("README.md", demo),
    "prediction": ("docs/scaling.md", prediction),
    "nodes": ("docs/scaling.md", nodes_tables),
    "crop-ready": ("docs/crop-ready.md", crop_ready),
    "transforms": ("docs/transforms.md", transforms),
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
