"""How random orders are on several nodes, and what they fetch from an object store: a simulation.

    python -m benchmarks.nodes             prints the tables; about two minutes
    python -m benchmarks.nodes --record    also writes benchmarks/results/nodes.md, .json and .svg

The index is made up: GenImage's training split by its published counts, in shards of 256 MB, each the seeded shuffle of
one generator that the packer makes. The orders are those of the loader; caches and prices are arithmetic.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.chart import line_chart
from benchmarks.harness import RESULTS, versions, write_results
from genimage_stream.order.nodes import NodeSteps, Shards, order_by_nodes
from genimage_stream.order.plan import Order, Steps, epoch_order
from genimage_stream.storage.ranges import CHUNK_BYTES
from genimage_stream.vocabulary import PUBLISHED

NODES = (1, 8, 64)
RANKS, BATCH = 8, 64  # a node's, and of a rank
WINDOW, KEEP = 16, 8  # the defaults
EPOCHS = 32
IMAGE_BYTES, SHARD_BYTES = 263_000, 256_000_000  # the mean of benchmarks/results/scaling.json; the packer's default
CLASSES = 1000
STEPS = 300  # of an epoch, whose batches are looked at
ROOM = 1.2  # a node's cache, in shares of the dataset

PER_1000_REQUESTS = 0.0004  # USD, list prices of S3 Standard in us-east-1: GET;
PER_GB_ELSEWHERE = 0.02  # to another region (to the same one nothing, to the internet 0.09)

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """Of each sample its shard, generator and label; of each shard its path."""

    shard: Codes
    generator: Codes
    label: Codes
    kind: Codes
    paths: list[str]

    @classmethod
    def of(cls, counts: Mapping[str, tuple[int, int]]) -> Index:
        """`counts`: reals and fakes of each generator."""
        chance = np.random.default_rng(0)
        per_shard = SHARD_BYTES // IMAGE_BYTES
        columns: list[list[Codes]] = [[], [], [], []]
        paths: list[str] = []
        for number, (name, (reals, fakes)) in enumerate(counts.items()):
            n = reals + fakes
            columns[0].append(len(paths) + np.arange(n) // per_shard)
            columns[1].append(np.full(n, number))
            columns[2].append(chance.permutation(np.repeat([0, 1], [reals, fakes])))
            columns[3].append(chance.permutation(np.arange(n) % CLASSES))
            paths += [f"{name}/train/{name}-train-{at:05d}.tar" for at in range(-(-n // per_shard))]
        shard, generator, label, kind = map(np.concatenate, columns)
        return cls(shard, generator, label, kind, paths)

    @cached_property
    def shards(self) -> Shards:
        return Shards.of(self.paths)

    def order(self, shuffle: str, nodes: int, epoch: int = 0) -> Order:
        if shuffle == "nodes":
            drawn = Order(np.arange(len(self.shard)))
            return order_by_nodes(
                drawn, self.shard, self.shards, seed=0, epoch=epoch, nodes=nodes, keep=KEEP, window=WINDOW
            )
        return epoch_order(
            Order(np.arange(len(self.shard))),
            seed=0,
            epoch=epoch,
            shuffle="shards" if shuffle == "shards" else "full",
            shards=self.shard,
            window=WINDOW,
        )


def strays(index: Index, shuffle: str, nodes: int) -> dict[str, dict[str, float]]:
    """Of a rank's and of global batches: the part of the samples that would have to be others for the batch to have the
    dataset's shares of labels, generators, classes; the mean over batches."""
    world = nodes * RANKS
    order = index.order(shuffle, nodes)
    steps = Steps(len(order), BATCH, world)
    if shuffle == "nodes":
        steps = NodeSteps(len(order), BATCH, world, shares=nodes, ranks_per_node=RANKS)
        order = steps.arranged(order)
    chosen = np.linspace(0, len(steps) - 3, min(STEPS, len(steps) - 2)).astype(int).tolist()
    found: dict[str, dict[str, float]] = {"rank": {}, "global": {}}
    columns = {"label": index.label, "generator": index.generator, "class": index.kind}
    for name, column in columns.items():
        whole = np.bincount(column) / len(column)
        for of in ("rank", "global"):
            spans = [steps.part(step, step % world) if of == "rank" else steps.bounds(step) for step in chosen]
            shares = [np.bincount(column[order.rows[a:b]], minlength=len(whole)) / (b - a) for a, b in spans]
            found[of][name] = float(np.mean([np.abs(share - whole).sum() / 2 for share in shares]))
    return found


@dataclass(frozen=True)
class Traffic:
    """Bytes and requests that all nodes ask for together: in the first epoch, and in the mean of EPOCHS."""

    cache: float
    first: float
    mean: float
    requests: float

    @property
    def dollars(self) -> float:
        return self.requests / 1000 * PER_1000_REQUESTS


def kept_shards(index: Index, nodes: int) -> Traffic:
    """Of shuffle="nodes": each node keeps what it used last, as far as there is room."""
    sizes = np.bincount(index.shard).astype(np.int64) * IMAGE_BYTES
    room = ROOM * sizes.sum() / nodes
    caches: list[dict[tuple[int, int], int]] = [{} for _ in range(nodes)]  # (shard, samples of it): bytes, oldest first
    fetched, requests = np.zeros(EPOCHS), 0
    for epoch in range(EPOCHS):
        rows = index.order("nodes", nodes, epoch).rows
        pairs, counts = np.unique(index.shard[rows] * nodes + np.arange(len(rows)) % nodes, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            shard, node = divmod(pair, nodes)
            cache, size = caches[node], count * IMAGE_BYTES
            if cache.pop((shard, count), None) is None:
                fetched[epoch] += size
                requests += -(-size // CHUNK_BYTES)
            cache[shard, count] = size
        for cache in caches:
            used = sum(cache.values())
            while used > room:
                used -= cache.pop(next(iter(cache)))
    return Traffic(room, fetched[0], float(fetched.mean()), requests / EPOCHS)


def traffic(index: Index, shuffle: str, nodes: int) -> Traffic:
    samples = len(index.shard)
    total = float(samples * IMAGE_BYTES)
    if shuffle == "full":  # a request for each sample, whichever node it is on
        return Traffic(0, total, total, samples)
    requests = nodes * float(np.ceil(np.bincount(index.shard) * IMAGE_BYTES / CHUNK_BYTES).sum())
    if shuffle == "shards":  # a cache of less than all has mostly dropped what comes next: counted as always
        return Traffic(total / 4, nodes * total, nodes * total, requests)
    if shuffle == "shards, all in each cache":
        return Traffic(total, nodes * total, nodes * total / EPOCHS, requests / EPOCHS)
    return kept_shards(index, nodes)


ORDERS = {"full": "full", "shards": "shards", "nodes": "nodes"}
TRAFFIC = ("full", "shards", "shards, all in each cache", "nodes")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    aligned = ["---:" if number else "---" for number, _ in enumerate(header)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, aligned, *rows])


def stray_table(found: Mapping[str, Any]) -> str:
    header = ["order, nodes", "labels, rank", "generators, rank", "labels", "generators", "classes"]
    rows = []
    for key, one in found.items():
        values = [one["rank"]["label"], one["rank"]["generator"]]
        values += [one["global"][name] for name in ("label", "generator", "class")]
        rows.append([key, *(f"{value:.2%}" for value in values)])
    return table(header, rows)


def traffic_table(found: Mapping[str, Any]) -> str:
    header = ["order, nodes", "cache a node, GB", "first epoch, GB", "an epoch, GB", "requests", "USD", "USD elsewhere"]
    rows = []
    for key, one in found.items():
        elsewhere = one["dollars"] + one["mean"] / 1e9 * PER_GB_ELSEWHERE
        figures = [one["cache"] / 1e9, one["first"] / 1e9, one["mean"] / 1e9, one["requests"]]
        rows.append([key, *(f"{value:,.0f}" for value in figures), f"{one['dollars']:.3f}", f"{elsewhere:,.2f}"])
    return table(header, rows)


def chart(found: Mapping[str, Any]) -> str:
    lines = {}
    for order in ORDERS:
        points = [(nodes, 100 * found[f"{order}, {nodes}"]["global"]["generator"]) for nodes in NODES]
        lines[order] = [(float(nodes), y, y, y) for nodes, y in points]
    return line_chart(
        lines,
        "How far the shares of generators in a global batch are from the dataset's",
        x_label="nodes of 8 ranks, 64 samples a rank",
        y_label="per cent of the batch",
        log_x=True,
    )


def main() -> int:
    """Simulate and print, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    given = parser.parse_args()
    index = Index.of(train_counts())
    random = {f"{order}, {nodes}": strays(index, order, nodes) for order in ORDERS for nodes in NODES}
    money = {}
    for nodes in NODES:
        for order in TRAFFIC:
            one = traffic(index, order, nodes)
            money[f"{order}, {nodes}"] = {**vars(one), "dollars": one.dollars}
    sections = {"How far shares of batches stray": stray_table(random), "What is fetched": traffic_table(money)}
    for heading, body in sections.items():
        print(f"{heading}\n\n{body}\n")
    if given.record:
        write_results(
            "nodes",
            "Orders on several nodes, simulated",
            sections,
            {"strays": random, "traffic": money, "samples": len(index.shard), "shards": len(index.paths)},
            package_versions=versions("genimage-stream", "numpy"),
            remarks=["A simulation of counts: nothing in it is a time, so other work on the machine changes nothing."],
        )
        (RESULTS / "nodes.svg").write_text(chart(random))
    return 0


def train_counts() -> dict[str, tuple[int, int]]:
    """Published (reals, fakes) of the training split, by generator."""
    return {name: (counts.train_real, counts.train_fake) for name, counts in PUBLISHED.items()}


if __name__ == "__main__":
    sys.exit(main())
