"""One group of loaders that take turns on one set of shards: their rates, their costs, who was left out and why."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import packed
from benchmarks.environments import ROOM, NotInstalledError, environment
from benchmarks.harness import Contestant, Measurement, as_json, measure, ratio_text
from benchmarks.peers import Work
from benchmarks.peers.client import PeerProcess
from genimage_stream.bench.process import ContestantError

OURS = "genimage-stream"  # what the names of our own loaders begin with
BASELINE = "webdataset + Pillow"
TURN_SECONDS = 1.0  # at least; a loader whose epoch is shorter has several in its turn


def log(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def compared_with(rates: Mapping[str, float], baseline: str) -> list[str]:
    """Whom ratios are given to, by the rates of all loaders: the fastest that is not ours first, then the baseline."""
    others = [title for title in rates if not title.startswith(OURS)]
    best = [max(others, key=rates.__getitem__)] if others else []
    return best + [title for title in (baseline,) if title in rates and title not in best]


def times_heading(title: str) -> str:
    """A column's name: the peer's, without what it says in brackets about itself."""
    return f"times {title.partition(' (')[0]}"


class Comparison:
    """One group of loaders on one set of shards."""

    baseline = BASELINE

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
        peers = compared_with({title: one.rate for title, one in self.measurements.items()}, self.baseline)
        times = "".join(f" {times_heading(peer)} |" for peer in peers)
        lines = [f"| | img/s | spread |{times} img per CPU second | peak MiB | threads |"]
        lines.append("|---|---:|---:|" + "---:|" * len(peers) + "---:|---:|---:|")
        for title, one in sorted(self.measurements.items(), key=lambda item: -item[1].rate):
            costs = self.costs[title]
            ratios = "".join(f" {ratio_text(one.ratios(self.measurements[peer]))} |" for peer in peers)
            # The kernel counts in hundredths of a second, so a tiny run may have cost none.
            per_second = f"{one.units / costs['cpu_seconds']:,.0f}" if costs["cpu_seconds"] else ""
            lines.append(
                f"| {title} | {one.rate:,.0f} | {one.spread:.0%} |{ratios} {per_second} "
                f"| {costs['peak_mib']:,.0f} | {costs['threads']:.0f} |"
            )
        lines += ["", *(f"Left out: {why}." for why in self.left_out.values())] if self.left_out else []
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        measured = as_json(self.measurements)
        for title, costs in self.costs.items():
            measured[title] |= costs
            if self.baseline in self.measurements:
                baseline = self.measurements[self.baseline]
                measured[title]["times_baseline"] = self.measurements[title].times_faster(baseline)
                measured[title]["times_baseline_by_round"] = [
                    round(ratio, 4) for ratio in self.measurements[title].ratios(baseline)
                ]
        facts = {"images": self.work.images, "bytes_per_image": self.bytes_per_image}
        return {**facts, "loaders": measured, "left_out": self.left_out}
