"""How this loader's speed depends on threads, on the crop and on the images, from original and crop-ready shards.

    python -m benchmarks.scaling [--rounds 5] [--record]

Every variant is a loader in this process that takes its turn for some epochs. Results go to .bench/results, or with
--record to benchmarks/results. How it behaves with the size of the index and over time: `benchmarks.growth`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import genimage_stream as gs
from benchmarks import harness
from benchmarks.chart import line_chart
from benchmarks.data import STREAMS, packed
from benchmarks.environments import ROOM, ROOT
from benchmarks.growth import OPTIONS, PACKAGES

CROPS = (64, 112, 224, 256, 384, 512)
KINDS = ("original", "crop-ready")
TURN_SECONDS = 1.0
#: Width of the square images of the streams that have one.
SIDES = {name: int(name[4:]) for name in STREAMS if name.startswith("png-")}


class Variant:
    """A loader over some shards, asked for an epoch at a time. Keeps CPU time and bytes read of each."""

    def __init__(self, name: str, shards: Path, options: Mapping[str, Any]) -> None:
        dataset = gs.open_dataset(shards)
        self.name, self.images = name, len(dataset)
        self.bytes_per_image = float(dataset.access.columns.numbers("size")[0].mean())
        self.cpu_seconds: list[float] = []
        self.read_bytes: list[int] = []
        self._loader = gs.Loader(dataset, **{**OPTIONS, **options})

    def turn(self) -> None:
        begin, read = time.process_time(), bytes_read()
        for _ in self._loader:
            pass
        self.cpu_seconds.append(time.process_time() - begin)
        self.read_bytes.append(bytes_read() - read)

    def epochs_a_turn(self) -> int:
        """As many as fill a second, by the second epoch: the first fills caches."""
        self.turn()
        begin = time.perf_counter()
        self.turn()
        return math.ceil(TURN_SECONDS / (time.perf_counter() - begin))


def bytes_read() -> int:
    """By this process so far, from disks or the page cache."""
    return int(Path("/proc/self/io").read_text().split()[1])


class Group:
    """Variants measured together: a value of one dimension, and the kind of shards, makes a variant."""

    def __init__(self, dimension: str, variants: Mapping[tuple[str, str], Variant], rounds: int) -> None:
        self.dimension, self.variants = dimension, variants
        contestants = [
            harness.Contestant(one.name, one.turn, one.images, repeat=one.epochs_a_turn()) for one in variants.values()
        ]
        self.measured = harness.measure(contestants, rounds=rounds, warm_up=0)

    def cpu_us(self, key: tuple[str, str]) -> float:
        """Microseconds of CPU time an image, all threads together, the warm-up left out."""
        one = self.variants[key]
        return statistics.median(one.cpu_seconds[2:]) / one.images * 1e6

    def table(self) -> str:
        lines = [f"| {self.dimension} | shards | images/s | spread | CPU us an image |", "|---|---|---:|---:|---:|"]
        for (value, kind), variant in self.variants.items():
            one = self.measured[variant.name]
            lines.append(
                f"| {value} | {kind} | {one.rate:,.0f} | {one.spread:.0%} | {self.cpu_us((value, kind)):,.0f} |"
            )
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        raw = harness.as_json(self.measured)
        for (value, kind), variant in self.variants.items():
            facts = {
                "cpu_us_per_image": round(self.cpu_us((value, kind)), 1),
                "bytes_per_image": round(variant.bytes_per_image),
                "read_bytes_per_image": round(statistics.median(variant.read_bytes) / variant.images),
            }
            found.setdefault(value, {})[kind] = raw[variant.name] | facts
        return found

    def series(self, at: Mapping[str, float]) -> dict[str, list[tuple[float, float, float, float]]]:
        """Lines for a chart: `at` places the values on the axis."""
        lines: dict[str, list[tuple[float, float, float, float]]] = {}
        for (value, kind), variant in self.variants.items():
            if value in at:
                one = self.measured[variant.name]
                low, high = one.units / max(one.seconds), one.units / min(one.seconds)
                lines.setdefault(f"{kind} shards", []).append((at[value], one.rate, low, high))
        return lines


def variants(values: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], Variant]:
    """`values`: what a row is called -> (stream or "", options of the loader); each on both kinds of shards."""
    return {
        (value, kind): Variant(f"{value}, {kind}", packed(stream, crop_ready=kind == "crop-ready"), options)
        for value, (stream, options) in values.items()
        for kind in KINDS
    }


def main() -> int:
    """Measure the three dimensions, write Markdown, JSON and a chart of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured epochs of each variant")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    arguments = parser.parse_args()
    folder = harness.RESULTS if arguments.record else ROOM / "results"
    folder.mkdir(parents=True, exist_ok=True)

    cpus = harness.machine()["cpus"]
    threads = sorted({1, *(2**i for i in range(1, 8) if 2**i < cpus), cpus, 2 * cpus})
    plans: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
        "threads": {str(n): ("", {"threads": n}) for n in threads},
        "crop": {f"{side} x {side}": ("", {"crop": side}) for side in CROPS},
        "image": {stream: (stream, {}) for stream in STREAMS},
    }
    titles = {
        "threads": ("Images per second by threads", "threads", {str(n): float(n) for n in threads}),
        "crop": (
            "Images per second by the side of the crop",
            "side of the crop, pixels",
            {f"{s} x {s}": s for s in CROPS},
        ),
        "image": ("Images per second by the side of square PNGs, 224 crops", "side of the image, pixels", SIDES),
    }
    sections, data = {}, {}
    for name, values in plans.items():
        group = Group(name, variants(values), arguments.rounds)
        title, x_label, at = titles[name]
        print(f"\n{title}\n\n{group.table()}", flush=True)
        chart = line_chart(group.series(at), title, x_label=x_label, y_label="images/s")  # type: ignore[arg-type]
        (folder / f"scaling-{name}.svg").write_text(chart)
        sections[title] = f"{group.table()}\n\n![{title}](scaling-{name}.svg)"
        data[name] = group.data()
    markdown, _ = harness.write_results(
        "scaling",
        "How the loader scales",
        sections,
        {"rounds": arguments.rounds, **data},
        package_versions=harness.versions(*PACKAGES),
        remarks=[
            "Epochs of GenImage's mix (the streams by themselves in the last table) as mirrored 224 crops unless said "
            f"otherwise, float32 batches of 64, files in the page cache, {cpus} threads unless said otherwise. Medians "
            f"of {arguments.rounds} rounds in which every variant of a table has its turn; charts show the slowest and "
            "the fastest round too. CPU time is that of the whole process.",
        ],
        folder=folder,
    )
    print(f"bench: written: {markdown.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
