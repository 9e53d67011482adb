"""The order in which nodes keep their shards: each node reads a share of the shards, the same for some epochs.

A node's share is the same for `keep` epochs, so its cache serves all but the first of them. Then shards move to other
nodes one by one: each has its own turn among the `keep` epochs, so a move never empties a cache at once. Who has a
shard is found by rendezvous hashing: every (node, shard, turn) has a score, and the shard goes to the node of the
highest score that still has room. A node more or less thus moves little beside what it has to have.

Shares hold equally many samples, plus or minus one; a shard that no longer fits into a share is divided between two
nodes, at most one for each node. An epoch of `nodes` shares is laid out sample by sample in turns: place i of the
order belongs to share i % nodes. So the order depends on the number of nodes and on nothing else of the world, and
what is left of an epoch can be given by any world: `NodeSteps` then shares it out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.order.philox import philox4x32
from genimage_stream.order.plan import STREAM_ORDER, STREAM_SHARDS, Order, Rows, Steps, permutation, random_words

_KEY = (0x6E6F6465, 0x73)  # of the scores, which do not depend on a run's seed: its caches serve the next run, too
_BLOCK = 1 << 16  # scores found at once


@dataclass(frozen=True)
class Shards:
    """The shards of an index: `marks` (m,) uint64 tell them apart, by their names; `groups` (m,) are those of their
    generators and splits, which windows are to hold in even parts."""

    marks: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.int64]

    @classmethod
    def of(cls, paths: Sequence[str]) -> Shards:
        marks = [int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "little") for path in paths]
        folders = [path.rpartition("/")[0] for path in paths]
        numbers = {folder: number for number, folder in enumerate(dict.fromkeys(folders))}
        return cls(np.array(marks, np.uint64), np.array([numbers[folder] for folder in folders], np.int64))


def order_by_nodes(
    drawn: Order,
    shard: npt.NDArray[np.integer[Any]],
    shards: Shards,
    *,
    seed: int,
    epoch: int,
    nodes: int,
    keep: int,
    window: int,
) -> Order:
    """The samples of an epoch, in turns from the shares of `nodes` nodes. `shard` (n,): that of each drawn sample.

    A share's shards come in random order, `window` of them at a time, with its groups in even parts; within a window
    any order of its samples is as likely as any other.
    """
    if not len(drawn):
        return drawn
    sorting = (drawn.rows, shard) if drawn.occurrences is None else (drawn.occurrences, drawn.rows, shard)
    by_shard = np.lexsort(sorting)
    present, counts = np.unique(shard, return_counts=True)
    quotas = np.array([len(range(node, len(drawn), nodes)) for node in range(nodes)])
    which, node, count = _pieces(counts, shards.marks[present], quotas, epoch, keep)
    windows = _windows(node, shards.groups[present][which], window, seed=seed, epoch=epoch)
    groups = np.empty(len(drawn), np.int64)
    groups[by_shard] = np.repeat(windows, count)
    mixed = permutation(len(drawn), seed=seed, epoch=epoch, stream=STREAM_ORDER, groups=groups)
    places = np.empty(len(drawn), np.int64)
    start = 0
    for number, quota in enumerate(quotas.tolist()):
        places[number::nodes] = mixed[start : start + quota]
        start += quota
    return Order(drawn.rows[places], None if drawn.occurrences is None else drawn.occurrences[places])


def _pieces(
    counts: Rows, marks: npt.NDArray[np.uint64], quotas: Rows, epoch: int, keep: int
) -> tuple[Rows, Rows, Rows]:
    """Which shards' samples go to which node, and how many, by shard: shares of exactly `quotas` samples."""
    turns = np.maximum(epoch - (marks % np.uint64(keep)).astype(np.int64), 0) // keep
    room = quotas.copy()
    found = []
    order = np.argsort(marks, kind="stable")  # the same in every epoch, so that few of the last ones find other room
    block = max(1, _BLOCK // len(quotas))
    for first in range(0, len(order), block):
        at = order[first : first + block]
        scores = _scores(marks[at], turns[at], len(quotas))
        scores[:, room == 0] = -1
        for i, shard in enumerate(at.tolist()):
            left = int(counts[shard])
            while left:
                node = int(scores[i].argmax())
                taken = min(left, int(room[node]))
                found.append((shard, node, taken))
                left -= taken
                room[node] -= taken
                if not room[node]:
                    scores[:, node] = -1
    found.sort(key=lambda piece: piece[0])  # stable: the first samples of a divided shard go to its first node
    which, node, count = np.array(found, np.int64).T
    return which, node, count


def _scores(marks: npt.NDArray[np.uint64], turns: Rows, nodes: int) -> npt.NDArray[np.int64]:
    """(shards, nodes) of 0 .. 2**32 - 1."""
    low, high = (marks & np.uint64(0xFFFFFFFF)).astype(np.uint32), (marks >> np.uint64(32)).astype(np.uint32)
    counters = np.empty((4, len(marks), nodes), np.uint32)
    counters[0], counters[1] = low[:, None], high[:, None]
    counters[2], counters[3] = turns.astype(np.uint32)[:, None], np.arange(nodes, dtype=np.uint32)
    scores: npt.NDArray[np.int64] = philox4x32(counters.reshape(4, -1), _KEY)[0].astype(np.int64)
    return scores.reshape(len(marks), nodes)


def _windows(node: Rows, group: Rows, window: int, *, seed: int, epoch: int) -> Rows:
    """The number of each piece's window, rising by node: pieces of a node in random order, with its groups spread
    evenly over it."""
    words = random_words(2 * len(node), seed=seed, epoch=epoch, stream=STREAM_SHARDS)
    chance, shift = words[: len(node)], words[len(node) :] / float(1 << 64)
    by_group = np.lexsort((chance, group, node))
    begins = np.flatnonzero(np.diff(node[by_group], prepend=-1) | np.diff(group[by_group], prepend=-1))
    sizes = np.diff(np.append(begins, len(node)))
    rank = np.arange(len(node)) - np.repeat(begins, sizes)
    position = np.empty(len(node))
    position[by_group] = (rank + np.repeat(shift[begins], sizes)) / np.repeat(sizes, sizes)
    order = np.lexsort((position, node))
    begins = np.flatnonzero(np.diff(node[order], prepend=-1))
    sizes = np.diff(np.append(begins, len(node)))
    within = (np.arange(len(node)) - np.repeat(begins, sizes)) // window
    number = np.empty(len(node), np.int64)
    number[order] = np.cumsum(np.diff(node[order] * len(node) + within, prepend=-1) != 0) - 1
    return number


@dataclass(frozen=True)
class NodeSteps(Steps):
    """`Steps` of an order of `shares` shares on nodes of `ranks_per_node` ranks each.

    With as many nodes as shares each node gives the samples of its own share. With another number of nodes, which is
    what a run meets that goes on in mid-epoch on more or fewer, node i gives those of share i as far as its part of
    the step goes, and all others fill the nodes that have too few. Steps hold the same samples either way; `arranged`
    puts each step's samples in the order of ranks.
    """

    shares: int = 1
    ranks_per_node: int = 1
    _patterns: dict[tuple[int, int], Rows] = field(default_factory=dict, compare=False, repr=False)

    @property
    def nodes(self) -> int:
        return self.world_size // self.ranks_per_node

    @property
    def own(self) -> bool:
        """Whether each node gives the samples of one share and no others."""
        return self.nodes == self.shares

    def _ends(self, first: int, last: int) -> Rows:
        """Where each node's samples end in a step of the places first .. last, counted from its first."""
        m = last - first
        if not self.own:
            return np.arange(1, self.nodes + 1) * m // self.nodes
        turn = (np.arange(self.nodes) - first) % self.nodes  # when each share has its first place of the step
        return np.cumsum(np.maximum(0, -(-(m - turn) // self.nodes)))

    def part(self, step: int, rank: int) -> tuple[int, int]:
        if not 0 <= rank < self.world_size:
            raise IndexError(f"rank {rank} of {self.world_size}")
        first, last = self.bounds(step)
        node, number = divmod(rank, self.ranks_per_node)
        ends = self._ends(first, last)
        begin, end = (0 if node == 0 else int(ends[node - 1])), int(ends[node])
        a, b = (begin + (end - begin) * one // self.ranks_per_node for one in (number, number + 1))
        return first + a, first + b

    def of_node(self, node: int) -> Rows:
        """The places of a node's samples, after `arranged`, in the steps to come."""
        first_rank, last_rank = node * self.ranks_per_node, (node + 1) * self.ranks_per_node - 1
        bounds = [(self.part(step, first_rank)[0], self.part(step, last_rank)[1]) for step in range(len(self))]
        return np.concatenate([np.empty(0, np.int64), *(np.arange(*one) for one in bounds)])

    def arranged(self, order: Order) -> Order:
        """The order with each coming step's samples in the order of ranks."""
        if self.shares == self.nodes == 1:
            return order
        places = np.arange(len(order))
        for step in range(len(self)):
            first, last = self.bounds(step)
            places[first:last] = first + self._pattern(first % self.shares, last - first)
        return Order(order.rows[places], None if order.occurrences is None else order.occurrences[places])

    def _pattern(self, first: int, m: int) -> Rows:
        """The places of m samples, of which the first is of share `first`, in the order of nodes."""
        if (first, m) not in self._patterns:
            share = (first + np.arange(m)) % self.shares
            sizes = np.diff(self._ends(first, first + m), prepend=0)
            here = share < self.nodes
            here[here] = (np.arange(m) // self.shares)[here] < sizes[share[here]]  # how many of its share came before
            node = share.copy()
            lacking = sizes - np.bincount(share[here], minlength=self.nodes)
            node[~here] = np.repeat(np.arange(self.nodes), lacking)
            self._patterns[first, m] = np.argsort(node, kind="stable")
        return self._patterns[first, m]


def cut(
    order: Order, steps: NodeSteps, node: int, shard: npt.NDArray[np.integer[Any]]
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Of an arranged order: the places that a node reads from now on, and (n,) whether a sample is of a shard that
    the node's share has in part only. `shard` (n,): that of each place's sample."""
    coming = steps.of_node(node)
    if not steps.own or steps.shares == 1:
        return coming, np.zeros(len(order), bool)
    mine = np.zeros(len(order), bool)
    end = steps.bounds(len(steps) - 1)[1] if len(steps) else steps.start
    mine[node : steps.start : steps.shares] = True  # what came before
    mine[coming] = True
    mine[end + (node - end) % steps.shares :: steps.shares] = True  # what drop_last omits
    both = np.intersect1d(shard[mine], shard[~mine])
    return coming, mine & np.isin(shard, both)
