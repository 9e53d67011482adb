"""Images per second from shards to normalised batches, beside other loaders doing the same work in the same run.

    make bench                                  the whole mix, 3 rounds; under 10 minutes once all is installed
    python -m benchmarks.end_to_end [--streams] [--rounds N] [--threads N] [--peers ours,dali] [--record | --prepare]

With --streams each stream (JPEG, PNG of 128, 256, 512, 1024) by itself instead. Every loader runs in a process of its
own and takes its turn for an epoch of some hundred to thousand images, or for several where that takes less than a
second; its first epoch is not measured. One that cannot be had, dies or hangs is left out and listed with the reason.
Results (end_to_end, or streams) go to .bench/results, or with --record to benchmarks/results, from which the README's
table and chart are taken.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.chart import bar_chart
from benchmarks.data import STREAMS, packed
from benchmarks.environments import ROOM, ROOT, NotInstalledError, environment
from benchmarks.harness import (
    RESULTS,
    Contestant,
    ContestantError,
    Measurement,
    as_json,
    machine,
    measure,
    ratio_text,
    write_results,
)
from benchmarks.peers import PEERS, Work
from benchmarks.peers.client import PeerProcess

BASELINE = "webdataset + Pillow"
TURN_SECONDS = 1.0  # at least; a loader whose epoch is shorter has several in its turn


def log(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Comparison:
    """One group of loaders on one set of shards."""

    def __init__(self, name: str, peers: Sequence[str], threads: int, rounds: int) -> None:
        self.name = name
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.measurements: dict[str, Measurement] = {}
        self.costs: dict[str, dict[str, float]] = {}
        self.epochs_a_turn: dict[str, int] = {}
        self.work = self._work(peers, threads)
        if rounds:
            self._run(peers, rounds)
        else:
            self._prepare(peers)

    def _work(self, peers: Sequence[str], threads: int) -> Work:
        import genimage_stream as gs

        stream = "" if self.name == "mix" else self.name
        shards = packed(stream)
        crop_ready = ""
        if "ours_crop_ready" in peers:
            try:
                crop_ready = str(packed(stream, crop_ready=True))
            except Exception as error:  # said in the results, like any peer that is left out
                log(f"no crop-ready shards: {error}")
        tars = tuple(str(path) for path in sorted(shards.glob("*/*/*.tar")))
        dataset = gs.open_dataset(shards)
        self.bytes_per_image = round(float(dataset.access.columns.numbers("size")[0].mean()))
        return Work(str(shards), tars, len(dataset), "", crop_ready, workers=threads)

    def _start(self, name: str, *, epoch: bool = True) -> PeerProcess:
        python = environment(name)
        work = replace(self.work, scratch=str(ROOM / "scratch" / Path(self.work.dataset).name / name))
        peer = PeerProcess(name, work, python)
        if epoch:
            first = peer.epoch()  # fills caches, starts workers and shows that the work is done
            more = peer.about["warm_up"] - 1
            for _ in range(more or int(first["seconds"] < 2 * TURN_SECONDS)):
                peer.epoch()  # the last tells how many of its kind make a turn
            peer.rest()
        return peer

    def _prepare(self, peers: Sequence[str]) -> None:
        """Environments, and the shards in the formats of the loaders that have one of their own; kept for later."""
        for name in peers:
            begin = time.perf_counter()
            try:
                with self._start(name, epoch=False):
                    pass
                log(f"{self.name}: {name} is ready, {time.perf_counter() - begin:.0f} s")
            except (NotInstalledError, ContestantError) as error:
                log(f"left out: {error}")

    def _run(self, peers: Sequence[str], rounds: int) -> None:
        with ExitStack() as stack:
            running: dict[str, PeerProcess] = {}
            for name in peers:
                log(f"{self.name}: starting {name}")
                try:
                    peer = stack.enter_context(self._start(name))
                except (NotInstalledError, ContestantError) as error:
                    self.left_out[name] = str(error)
                    log(f"left out: {error}")
                    continue
                running[peer.about["title"]] = peer
                self.versions |= peer.about["versions"]
            log(f"{self.name}: {rounds} rounds of {len(running)} loaders")
            contestants = [self._contestant(title, peer) for title, peer in running.items()]
            warm = {title: len(peer.answers) for title, peer in running.items()}
            self.measurements = measure(contestants, rounds=rounds, warm_up=0, left_out=self.left_out)
            for title in running.keys() & self.left_out.keys():
                log(f"left out: {self.left_out[title]}")
            for title in self.measurements:
                measured = running[title].answers[warm[title] :]
                self.costs[title] = {
                    "epochs_a_turn": self.epochs_a_turn[title],
                    "cpu_seconds": statistics.median(answer["cpu_seconds"] for answer in measured),
                    "peak_mib": max(answer["peak_mib"] for answer in measured),
                    "threads": max(answer["threads"] for answer in measured),
                }

    def _contestant(self, title: str, peer: PeerProcess) -> Contestant:
        epochs = math.ceil(TURN_SECONDS / peer.answers[-1]["seconds"])
        self.epochs_a_turn[title] = min(epochs, 10)
        return Contestant(title, peer.epoch, self.work.images, peer.settle, peer.rest, self.epochs_a_turn[title])

    def table(self) -> str:
        """Markdown: rate, ratio, CPU time and memory of each loader, then who was left out and why."""
        lines = [f"| | img/s | spread | times {BASELINE} (lowest-highest) | img per CPU second | peak MiB | threads |"]
        lines.append("|---|---:|---:|---:|---:|---:|---:|")
        for title, one in sorted(self.measurements.items(), key=lambda item: -item[1].rate):
            costs = self.costs[title]
            ratio = ratio_text(one.ratios(self.measurements[BASELINE])) if BASELINE in self.measurements else ""
            lines.append(
                f"| {title} | {one.rate:,.0f} | {one.spread:.0%} | {ratio} | {one.units / costs['cpu_seconds']:,.0f} "
                f"| {costs['peak_mib']:,.0f} | {costs['threads']:.0f} |"
            )
        lines += ["", *(f"Left out: {why}." for why in self.left_out.values())] if self.left_out else []
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        measured = as_json(self.measurements)
        for title, costs in self.costs.items():
            measured[title] |= costs
            if BASELINE in self.measurements:
                baseline = self.measurements[BASELINE]
                measured[title]["times_baseline"] = self.measurements[title].times_faster(baseline)
                measured[title]["times_baseline_by_round"] = [
                    round(ratio, 4) for ratio in self.measurements[title].ratios(baseline)
                ]
        facts = {"images": self.work.images, "bytes_per_image": self.bytes_per_image}
        return {**facts, "loaders": measured, "left_out": self.left_out}


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
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--prepare", action="store_true", help="make and convert what is missing, measure nothing")
    arguments = parser.parse_args()
    arguments.peers = tuple(arguments.peers.split(",")) if arguments.peers else PEERS
    if unknown := set(arguments.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(sorted(unknown))} is none of {', '.join(PEERS)}")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads: at least 1")
    return arguments


def main() -> int:
    """Measure, print the tables, write Markdown, JSON and the charts."""
    arguments = parse()
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
