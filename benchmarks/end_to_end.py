"""Images per second from shards to normalised batches, beside other loaders doing the same work in the same run.

    make bench                                  the whole mix, 3 rounds; under 10 minutes once all is installed
    python -m benchmarks.end_to_end [--streams] [--rounds N] [--threads N] [--peers ours,dali] [--record | --prepare]
    make bench ARGS="--transform cnnspot"       that transform instead of a crop (benchmarks/transforms.py has them)

With --streams each stream (JPEG, PNG of 128, 256, 512, 1024) by itself instead. Every loader runs in a process of its
own and takes its turn for an epoch of some hundred to thousand images, or for several where that takes less than a
second; its first epoch is not measured. One that cannot be had, dies or hangs is left out and listed with the reason.
Results (end_to_end, or streams) go to .bench/results, or with --record to benchmarks/results, from which the README's
table and chart are taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chart import bar_chart
from benchmarks.comparison import Comparison, log
from benchmarks.data import STREAMS
from benchmarks.environments import ROOM, ROOT
from benchmarks.harness import RESULTS, machine, write_results
from benchmarks.peers import PEERS
from benchmarks.transformed import TRANSFORMS
from benchmarks.transformed.comparison import Transformed

REMARKS = (
    "Work: every image once per epoch; a random 224 x 224 window of the full-resolution image, mirrored half of the "
    "time, as normalised float32 batches of 64. The images are stand-ins of GenImage's formats, sizes and proportions "
    "made from photographs (`benchmarks/data.py`), read from the page cache. An epoch has {images} images and is timed "
    "from asking for it to its last batch, its beginning included, as far as the loader has one: DALI and Energon go "
    "on without. The first epoch, in which caches fill and worker processes start, is not measured.",
    "",
    "Every loader runs in its own process with {threads} threads or worker processes and takes its turn for an epoch, "
    "or for as many as fill a second; a turn begins when the loader before is idle, which some are only when the "
    "queues for their next epoch are full. "
    "img/s is the median of {rounds} rounds, the spread the distance between the quartiles. The ratio is taken within "
    "each round and the median of those is given, with the lowest and the highest: it need not be the quotient of two "
    "medians of the first column, and says more where the machine was not equally quick in all rounds. Memory is the "
    "sum over a loader's processes of their peaks, shared pages counted in each; threads and memory are looked at a "
    "few times a second. What is particular about a loader "
    "is at the top of its file in `benchmarks/peers/`: DALI pads small images instead of tiling them; FFCV holds "
    "JPEGs and raw pixels, half of each, so no PNG is decoded, and resizes its crops; SPDL converts colours by "
    "FFmpeg's arithmetic.",
)
HEADINGS = {"mix": "GenImage's mix", "jpeg": "JPEG alone", **{s: f"PNG {s[4:]}" for s in STREAMS if s != "jpeg"}}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", action="store_true", help="each stream by itself instead of the mix")
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs of each loader")
    parser.add_argument("--threads", type=int, default=machine()["cpus"], help="threads or workers of each loader")
    parser.add_argument("--peers", help="comma-separated modules of benchmarks/peers (default: all)")
    parser.add_argument("--transform", choices=TRANSFORMS, metavar="R", help=f"one of {', '.join(TRANSFORMS)}")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--prepare", action="store_true", help="make and convert what is missing, measure nothing")
    arguments = parser.parse_args()
    others = arguments.streams or arguments.record or arguments.prepare or arguments.peers
    arguments.peers = tuple(arguments.peers.split(",")) if arguments.peers else PEERS
    if unknown := set(arguments.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(sorted(unknown))} is none of {', '.join(PEERS)}")
    if arguments.transform and others:
        parser.error("--transform goes with --rounds and --threads; python -m benchmarks.transforms records results")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads: at least 1")
    return arguments


def main() -> int:
    """Measure, print the tables, write Markdown, JSON and the charts."""
    arguments = parse()
    if arguments.transform:
        compared = Transformed(arguments.transform, arguments.threads, arguments.rounds)
        images, title = compared.work.images, TRANSFORMS[arguments.transform].title
        print(f"\n{title}: {images:,} images an epoch\n\n{compared.table()}", flush=True)
        return 0
    rounds = 0 if arguments.prepare else arguments.rounds
    comparisons = []
    for name in STREAMS if arguments.streams else ("mix",):
        comparisons.append(Comparison(name, arguments.peers, arguments.threads, rounds))
        if rounds:
            images, table = comparisons[-1].work.images, comparisons[-1].table()
            print(f"\n{HEADINGS[name]}: {images:,} images an epoch\n\n{table}", flush=True)
    if rounds:
        markdown = write(comparisons, arguments, RESULTS if arguments.record else ROOM / "results")
        log(f"written: {markdown.relative_to(ROOT)}")
    return 0


def write(comparisons: Sequence[Comparison], arguments: argparse.Namespace, folder: Path) -> Path:
    """Markdown, JSON and, for the mix, the chart."""
    sizes = [comparison.work.images for comparison in comparisons]
    images = " to ".join(f"{n:,}" for n in sorted({min(sizes), max(sizes)}))
    known = {"threads": arguments.threads, "rounds": arguments.rounds, "images": images}
    versions: dict[str, str] = {}
    for comparison in comparisons:
        versions |= comparison.versions
    markdown, _ = write_results(
        "streams" if arguments.streams else "end_to_end",
        "Each format and size by itself" if arguments.streams else "From shards to batches, beside other loaders",
        {HEADINGS[c.name]: c.table() for c in comparisons},
        {
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "comparisons": {c.name: c.data() for c in comparisons},
        },
        package_versions=dict(sorted(versions.items())),
        remarks=[line.format(**known) for line in REMARKS],
        folder=folder,
    )
    if not arguments.streams:
        rates = {title: one.rate for title, one in comparisons[0].measurements.items()}
        chart = bar_chart(rates, "Images per second, GenImage's mix, 224 crops", highlight="genimage-stream")
        Path(folder / "end_to_end.svg").write_text(chart)
    return markdown


if __name__ == "__main__":
    sys.exit(main())
