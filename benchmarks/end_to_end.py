"""Images per second from shards to normalised batches, beside other loaders doing the same work in the same run.

    make bench                                  the whole mix, a few rounds; under 10 minutes once all is installed
    make bench-full                             more rounds, and each stream (JPEG, PNG of 256, 512, 1024) by itself
    python -m benchmarks.end_to_end [--full] [--rounds N] [--threads N] [--peers ours,dali] [--record]

Every loader runs in a process of its own and takes its turn for one epoch; medians and per-round ratios are compared.
Results go to .bench/results, or with --record to benchmarks/results, from which the README's table and chart are taken.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.chart import bar_chart
from benchmarks.data import STREAMS, packed
from benchmarks.environments import ROOM, NotInstalledError, environment
from benchmarks.harness import RESULTS, Contestant, Measurement, as_json, machine, measure, write_results
from benchmarks.peers import PEERS, Work
from benchmarks.peers.client import PeerError, PeerProcess

BASELINE = "webdataset + Pillow"
#: For the streams: ours, the usual way, and the fastest others.
STREAM_PEERS = ("ours", "ours_crop_ready", "webdataset_pillow", "webdataset_opencv", "dali", "dali_crop")


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
        self.work = self._work(peers, threads)
        self._run(peers, rounds)

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
        return Work(str(shards), tars, len(gs.open_dataset(shards)), "", crop_ready, workers=threads)

    def _start(self, name: str) -> PeerProcess:
        python = environment(name)
        work = replace(self.work, scratch=str(ROOM / "scratch" / self.name / name))
        peer = PeerProcess(name, work, python)
        try:
            peer.epoch()  # the first epoch fills caches, starts workers and shows that the work is done
        except PeerError:
            peer.close()
            raise
        return peer

    def _run(self, peers: Sequence[str], rounds: int) -> None:
        with ExitStack() as stack:
            running: dict[str, PeerProcess] = {}
            for name in peers:
                log(f"{self.name}: starting {name}")
                try:
                    peer = stack.enter_context(self._start(name))
                except (NotInstalledError, PeerError) as error:
                    self.left_out[name] = str(error)
                    log(f"left out: {error}")
                    continue
                running[peer.about["title"]] = peer
                self.versions |= peer.about["versions"]
            log(f"{self.name}: {rounds} rounds of {len(running)} loaders")
            contestants = [Contestant(title, peer.epoch, self.work.images) for title, peer in running.items()]
            self.measurements = measure(contestants, rounds=rounds, warm_up=0)
            for title, peer in running.items():
                measured = peer.answers[-rounds:]
                self.costs[title] = {
                    "cpu_seconds": statistics.median(answer["cpu_seconds"] for answer in measured),
                    "peak_mib": max(answer["peak_mib"] for answer in measured),
                    "threads": measured[-1]["threads"],
                }

    def table(self) -> str:
        """Markdown: rate, ratio, CPU time and memory of each loader, then who was left out and why."""
        lines = [f"| | img/s | spread | times {BASELINE} | img per CPU second | peak MiB | threads |"]
        lines.append("|---|---:|---:|---:|---:|---:|---:|")
        for title, one in sorted(self.measurements.items(), key=lambda item: -item[1].rate):
            costs = self.costs[title]
            ratio = f"{one.times_faster(self.measurements[BASELINE]):.2f}" if BASELINE in self.measurements else ""
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
        return {"images": self.work.images, "loaders": measured, "left_out": self.left_out}


REMARKS = (
    "Work: every image once per epoch; a random 224 x 224 window of the full-resolution image, mirrored half of the "
    "time, as normalised float32 batches of 64. The images are stand-ins of GenImage's formats, sizes and proportions "
    "made from photographs (`benchmarks/data.py`), read from the page cache.",
    "",
    "Every loader runs in its own process with {threads} threads or worker processes and takes its turn for an epoch; "
    "img/s is the median of {rounds} rounds, the ratio the median of the ratios within a round, the spread the "
    "distance between the quartiles. Memory is the sum over a loader's processes of their peaks, shared pages counted "
    "in each. What is particular about a loader stands at the top of its file in `benchmarks/peers/`: DALI pads small "
    "images instead of tiling them; FFCV holds JPEG only, so PNGs are re-encoded for it beforehand, and resizes its "
    "crops; SPDL converts colours by FFmpeg's arithmetic.",
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more rounds, and each stream by itself")
    parser.add_argument("--rounds", type=int, help="measured epochs of each loader (default 3, with --full 7)")
    parser.add_argument("--threads", type=int, default=machine()["cpus"], help="threads or workers of each loader")
    parser.add_argument("--peers", help="comma-separated modules of benchmarks/peers (default: all)")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (7 if arguments.full else 3)
    arguments.peers = tuple(arguments.peers.split(",")) if arguments.peers else PEERS
    if unknown := set(arguments.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(sorted(unknown))} is none of {', '.join(PEERS)}")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads: at least 1")
    return arguments


def main() -> int:
    """Measure, print the tables, write Markdown, JSON and the chart."""
    arguments = parse()
    comparisons = [Comparison("mix", arguments.peers, arguments.threads, arguments.rounds)]
    if arguments.full:
        peers = [name for name in STREAM_PEERS if name in arguments.peers]
        rounds = max(3, arguments.rounds // 2)
        comparisons += [Comparison(stream, peers, arguments.threads, rounds) for stream in STREAMS]
    remarks = [line.format(threads=arguments.threads, rounds=arguments.rounds) for line in REMARKS]
    folder = RESULTS if arguments.record else ROOM / "results"
    headings = {"mix": "GenImage's mix", "jpeg": "JPEG alone", **{s: f"PNG {s[4:]}" for s in STREAMS if s != "jpeg"}}
    versions: dict[str, str] = {}
    for comparison in comparisons:
        versions |= comparison.versions
        print(f"\n{headings[comparison.name]}\n\n{comparison.table()}")
    markdown, _ = write_results(
        "end_to_end",
        "From shards to batches, beside other loaders",
        {headings[c.name]: c.table() for c in comparisons},
        {
            "command": "python -m benchmarks.end_to_end " + " ".join(sys.argv[1:]),
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "comparisons": {c.name: c.data() for c in comparisons},
        },
        package_versions=dict(sorted(versions.items())),
        remarks=remarks,
        folder=folder,
    )
    rates = {title: one.rate for title, one in comparisons[0].measurements.items()}
    chart = bar_chart(rates, "Images per second, GenImage's mix, 224 crops", highlight="genimage-stream")
    Path(folder / "end_to_end.svg").write_text(chart)
    log(f"written: {markdown}, and .json and .svg beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
