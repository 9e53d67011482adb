"""Which samples a loader gives, when, and on which rank; and the states that say how far a run is.

All of it follows from the dataset, the options and the process group; nothing here reads an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from genimage_stream.arguments import WrongKindError, names, one_of, whole
from genimage_stream.dataset.access import Access
from genimage_stream.dataset.groups import mixture_of
from genimage_stream.dataset.parts import differing_parts
from genimage_stream.loading.options import LAST_EPOCH, LoaderOptions
from genimage_stream.loading.transform import LoaderTransform
from genimage_stream.order.by_size import SizedSteps, order_by_size
from genimage_stream.order.mixing import plain_mix
from genimage_stream.order.nodes import NodeSteps, Shards, order_by_nodes
from genimage_stream.order.plan import Order, Rows, Steps, epoch_order
from genimage_stream.transforms.step import Size

STATE_VERSION = 2  # 1: random values were keyed by a sample's row

_PLACE = ("version", "epoch", "position")  # what a state holds beside the identity of its run
_BESIDE = (*_PLACE, "shares", "parts")


class Place(NamedTuple):
    """An epoch, and the place in it, counted in samples over all ranks, from which on it is given."""

    epoch: int
    start: int
    shares: int = 0  # of nodes, by which the epoch began with shuffle="nodes"


class Placement(NamedTuple):
    """This process among those of a run."""

    rank: int
    world_size: int


@dataclass
class Progress:
    """What the consumer has received: everything before `position` in the order of `epoch`, over all ranks."""

    epoch: int
    position: int
    shares: int = 0  # as in `Place`


def group_placement() -> Placement | None:
    """That of the torch.distributed process group; None when there is none."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return Placement(distributed.get_rank(), distributed.get_world_size())
    return None


class Schedule:
    """The epochs of a dataset by a loader's options. `epoch_samples`: samples of an epoch over all ranks.

    Raises ValueError for an empty selection, a mix that does not fit the dataset, and when an epoch has no steps.
    """

    def __init__(self, access: Access, options: LoaderOptions, transform: LoaderTransform | None = None) -> None:
        if not len(access):
            raise ValueError(f"the selection of {access.store.name} is empty: nothing to load")
        self._access = access
        self._options = options
        self._transform = None if transform is None else transform.identity()
        self._sizes = None if transform is None or isinstance(transform.size, Size) else transform.size
        self._mixture = None if options.mix is None else mixture_of(access, options.mix, options.epoch_size)
        self._mix = None if options.mix is None else plain_mix(options.mix)
        self._sized: tuple[tuple[int, int], SizedSteps] | None = None  # the last, with start and world size
        self.epoch_samples = len(access) if self._mixture is None else self._mixture.size
        self.steps()  # an epoch without any is an error here, as far as the ranks are known

    def placement(self) -> Placement:
        """Rank and world size of this process: those given, or those of the process group."""
        options = self._options
        if options.rank is not None and options.world_size is not None:
            return Placement(options.rank, options.world_size)
        return group_placement() or Placement(0, 1)

    def shares(self, epoch_began: int = 0) -> int:
        """Into how many nodes' shares an epoch is laid out that begins now; or that `epoch_began` with. 0 for orders
        without shares."""
        if self._options.order != "nodes":
            return 0
        world_size = self.placement().world_size
        return epoch_began or world_size // self._options.ranks_of_node(world_size)

    def order(self, epoch: int, shares: int = 0) -> Order:
        """The samples of an epoch in the order in which they come, over all ranks; with shuffle="nodes" in `shares`
        shares, by default one for each node."""
        access, options = self._access, self._options
        if self._sizes is not None:
            return Order(self._by_size[0])
        if self._mixture is not None:
            drawn = self._mixture.order(seed=options.seed, epoch=epoch)
        elif access.whole and options.order not in ("shards", "nodes"):
            return epoch_order(len(access), seed=options.seed, epoch=epoch, shuffle=options.order)
        else:
            drawn = Order(access.rows)
        window = options.shards_at_once
        shards = None if window is None else access.shards()[0][drawn.rows]
        if shards is not None and window is not None and options.keep is not None:
            return order_by_nodes(
                drawn,
                shards,
                self._shards,
                seed=options.seed,
                epoch=epoch,
                nodes=self.shares(shares),
                keep=options.keep,
                window=window,
            )
        return epoch_order(
            drawn, seed=options.seed, epoch=epoch, shuffle=options.order, shards=shards, window=window or 1
        )

    @cached_property
    def _shards(self) -> Shards:
        return Shards.of(self._access.shards()[1])

    @cached_property
    def _by_size(self) -> tuple[Rows, Rows]:
        """The rows in the order of what is made of them, and where in it sizes begin."""
        assert self._sizes is not None
        size = [
            self._access.take(column).astype(np.int64) for column in self._access.columns.numbers("width", "height")
        ]
        return order_by_size(self._access.rows, self._sizes.find(np.stack(size, axis=1)))

    def steps(self, start: int = 0, shares: int = 0) -> Steps | SizedSteps:
        """The steps of an epoch from a place on. `shares`: as in `order`. Raises ValueError when a whole epoch has
        none, or fewer samples than there are ranks."""
        options, world_size = self._options, self.placement().world_size
        if self._sizes is not None:
            self._need_ranks(world_size)
            key = (start, world_size)
            if self._sized is None or self._sized[0] != key:
                self._sized = (
                    key,
                    SizedSteps(self._by_size[1], self.epoch_samples, options.batch_size, world_size, start),
                )
            return self._sized[1]
        steps = Steps(self.epoch_samples, options.batch_size, world_size, options.drop_last, start)
        if options.order == "nodes":
            ranks = options.ranks_of_node(world_size)
            steps = NodeSteps(**vars(steps), shares=self.shares(shares), ranks_per_node=ranks)
        if options.drop_last and steps.global_batch > self.epoch_samples:
            step = f"batch_size={options.batch_size} on {world_size} ranks takes {steps.global_batch} samples"
            raise ValueError(f"drop_last=True leaves nothing: {step}, an epoch has {self.epoch_samples}")
        self._need_ranks(world_size)
        return steps

    def _need_ranks(self, world_size: int) -> None:
        if world_size > self.epoch_samples:
            raise ValueError(
                f"an epoch of {self.epoch_samples} samples on {world_size} ranks leaves ranks without any: use fewer "
                "ranks, or select more samples"
            )

    # -- states --------------------------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What decides which sample comes when, and the transform; states go between loaders that agree on it."""
        options = self._options
        order: dict[str, Any] = {"seed": options.seed, "shuffle": options.order, "window": options.shards_at_once}
        if options.keep is not None:
            order["keep_epochs"] = options.keep
        if self._mix is not None:
            order |= {"mix": self._mix, "epoch_samples": self.epoch_samples}
        if self._transform is not None:
            order["transform"] = self._transform
        if options.pairs is not None:
            order["pairs"] = self._pairs_digest
        return {"dataset": self._digest, **order}

    def state(self, at: Progress) -> dict[str, Any]:
        """A run of this schedule that is at this place."""
        place: dict[str, Any] = {"version": STATE_VERSION, "epoch": at.epoch, "position": at.position}
        if self._options.order == "nodes":
            place["shares"] = self.shares(at.shares if at.position else 0)
        return {**place, **self.identity(), **self.parts}

    def place(self, state: Mapping[str, Any], allow: Sequence[str] = ()) -> Place:
        """Where a state was taken; what `allow` names may differ. Raises ValueError for what is no state, or belongs to
        another run."""
        for name in names("allow", allow):
            one_of("allow", name, ("transform",))
        if not isinstance(state, Mapping):
            raise WrongKindError(f"state {state!r}: a mapping is needed, as state_dict gave it")
        missing = [name for name in _PLACE if name not in state]
        if missing:
            raise ValueError(f"the state has no {', '.join(missing)}: it is not the state of a loader")
        if state["version"] == 1:
            raise ValueError(
                "the state is of an earlier release, which drew crops and flips by other numbers (version 1): begin "
                "the run anew, or finish it with that release"
            )
        if state["version"] != STATE_VERSION:
            raise ValueError(f"the state has version {state.get('version')}; this loader reads version {STATE_VERSION}")
        mine = self.identity()
        both = [name for name in {**mine, **state} if name not in _BESIDE]
        differ = [name for name in both if state.get(name) != mine.get(name) and name not in allow]
        if differ:
            other = "; ".join(f"{name}: {state.get(name)!r}, here {mine.get(name)!r}" for name in differ)
            on = ' (allow=("transform",) goes on with this one)' if differ == ["transform"] else ""
            which = self.differing_parts(state.get("parts")) if "dataset" in differ else ""
            raise ValueError(f"the state belongs to another run ({other}){on}{which}")
        epoch, position = (whole(name, state[name], -(1 << 64)) for name in ("epoch", "position"))
        if not 0 <= epoch <= LAST_EPOCH or not 0 <= position <= self.epoch_samples:
            raise ValueError(f"the state's place, epoch {epoch} position {position}, does not exist")
        return Place(epoch, position, self.shares_of(state))

    def shares_of(self, state: Mapping[str, Any]) -> int:
        """The shares in a state. Raises ValueError when they are none."""
        if self._options.order != "nodes":
            return 0
        return whole("shares", state.get("shares"), 1, highest=self.epoch_samples)

    @cached_property
    def parts(self) -> dict[str, Any]:
        """Of several datasets that were opened as one, which they are: a state is as good without it."""
        return {} if self._access.parts is None else {"parts": self._access.contributions()}

    def differing_parts(self, before: Any) -> str:
        """The end of a sentence about a state of other samples."""
        return differing_parts(before, self._access.contributions()) if before else ""

    @cached_property
    def _pairs_digest(self) -> str | None:
        pairs = self._options.pairs
        return None if pairs is None else pairs.access.digest()

    @cached_property
    def _digest(self) -> str:
        return self._access.digest()
