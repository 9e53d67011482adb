"""One epoch under way: requests for bytes, jobs of the decoder's threads, finished batches in order.

No Python thread is involved: `__next__` gives work to the threads of the C++ core (and, for object stores, to those
that fetch), waits for the oldest batch and returns it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.backends.finishing import kept
from genimage_stream.decode import PlannedSteps
from genimage_stream.decode.planned import interleaved
from genimage_stream.loading import accelerator, stats
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.failures import Failures
from genimage_stream.loading.options import LoaderOptions
from genimage_stream.loading.samples import SampleTable
from genimage_stream.loading.schedule import Progress
from genimage_stream.loading.transform import LoaderTransform
from genimage_stream.order.nodes import NodeSteps, cut
from genimage_stream.storage.store import SampleRanges
from genimage_stream.transforms.step import Size

if TYPE_CHECKING:
    from genimage_stream.backends.renderer import Renderer, Rendering
    from genimage_stream.dataset.columns import IndexColumns
    from genimage_stream.order.by_size import SizedSteps
    from genimage_stream.order.plan import Order, Steps
    from genimage_stream.order.windows import Windows
    from genimage_stream.storage.store import Reader, Request

_BLOCK = 1024  # samples whose parameters are found at once: NumPy's cost per call is then shared by many batches
_BLOCK_WITH_STEPS = 256  # fewer where steps are planned, which takes longer
_LONG_POLL_SECONDS = 10.0  # where nothing but the core is waited for, which answers Ctrl-C itself
_POLL_SECONDS = 0.2  # between looks for Ctrl-C while the threads of the core work


@dataclass(frozen=True)
class Pipeline:
    """What the epochs of one loader share in one process. `prefetch`: batches decoded ahead."""

    options: LoaderOptions
    transform: LoaderTransform | None
    prefetch: int
    columns: IndexColumns
    table: SampleTable
    reader: Reader
    renderer: Renderer
    failures: Failures
    counter: stats.StatsCounter


@dataclass(frozen=True)
class _Planned:
    """One batch of this rank: its samples, where their bytes are, what they are, and what becomes of them."""

    step: int
    rows: npt.NDArray[np.int64]
    ranges: SampleRanges
    label: npt.NDArray[np.int64]
    subset: npt.NDArray[np.int64]
    wanted: Windows | PlannedSteps
    window: tuple[int, int] | None  # (height, width) of its images, where batches have their own

    @property
    def views(self) -> npt.NDArray[np.int64] | None:
        """How many pictures each sample has; None where all have as many."""
        first = self.wanted.first if isinstance(self.wanted, PlannedSteps) else None
        return None if first is None else np.diff(first).astype(np.int64)


@dataclass
class _Work:
    """One batch on its way."""

    plan: _Planned
    request: Request
    rendering: Rendering | None = None  # once the bytes are there
    error: OSError | None = None  # when they did not come


class Epoch(Iterator[Batch]):
    """The batches of one rank in one epoch, those of the steps `turns`.

    Ends its work when exhausted, closed, dropped or on an error.
    """

    def __init__(
        self, pipeline: Pipeline, order: Order, steps: Steps | SizedSteps, turns: range, rank: int, progress: Progress
    ) -> None:
        self.epoch = progress.epoch
        self._progress = progress
        self.finished = False
        self._pipeline = pipeline
        self._order = order
        self._steps = steps
        self._turns = turns
        self._rank = rank
        self._pid = os.getpid()
        self._planned: deque[_Planned] = deque()
        self._next_planned = 0
        self._given = 0
        self._fetching: deque[_Work] = deque()
        self._decoding: deque[_Work] = deque()
        self._left_at: float | None = None
        _living.add(self)
        reader, options, shard = pipeline.reader, pipeline.options, pipeline.table.shard
        window = 1 if options.order == "none" else options.shards_at_once
        if isinstance(steps, NodeSteps):
            window = (window or 1) * -(-steps.shares // steps.nodes)  # a node may give several shares
            coming, divided = cut(order, steps, rank // steps.ranks_per_node, shard[order.rows])
            reader.begin(_first_come(shard[order.rows[coming]]), window, pipeline.table.extents(order.rows[divided]))
        elif reader.wants_order or options.order == "shards":
            reader.begin(_first_come(shard[order.rows[steps.start :]]), window)

    # -- planning ------------------------------------------------------------------------------------------------------

    def _plan_block(self) -> None:
        """Find rows and windows of the next batches of this rank, some hundred samples together."""
        options, table = self._pipeline.options, self._pipeline.table
        together = _BLOCK if self._pipeline.transform is None else _BLOCK_WITH_STEPS
        turns = self._turns[self._next_planned : self._next_planned + max(1, together // options.batch_size)]
        parts = [self._steps.part(step, self._rank) for step in turns]
        places = np.concatenate([np.arange(a, b) for a, b in parts])
        rows = self._order.rows[places]
        seen = 0 if self._order.occurrences is None else self._order.occurrences[places]
        wanted, tops, heights = self._wanted(rows, seen)
        shard, offset, size = table.shard[rows], table.offset[rows], table.size[rows]
        names = self._pipeline.columns.member_names(rows)
        label = table.label_number[table.label[rows]]
        subset = table.generator[rows].astype(np.int64)
        needed = None
        if table.segments is not None:
            needed = table.segments.needed(rows, size, tops, heights)
        own_sizes = self._own_sizes(rows)
        at = 0
        for step, (a, b) in zip(turns, parts, strict=True):
            part = slice(at, at + b - a)
            self._planned.append(
                _Planned(
                    step=step,
                    rows=rows[part],
                    ranges=SampleRanges(
                        shard[part],
                        offset[part],
                        size[part],
                        None if needed is None else needed[part],
                        names[part],
                    ),
                    label=label[part],
                    subset=subset[part],
                    wanted=wanted.part(at, at + b - a),
                    window=None if own_sizes is None else own_sizes[min(at, len(own_sizes) - 1)],
                )
            )
            at += b - a
        self._next_planned += len(turns)

    def _own_sizes(self, rows: npt.NDArray[np.int64]) -> list[tuple[int, int]] | None:
        """(height, width) of what is made of samples, where sizes differ; an empty batch has that of the last one."""
        transform = self._pipeline.transform
        if transform is None or isinstance(transform.size, Size):
            return None
        found = transform.size.find(self._pipeline.table.sizes(rows if len(rows) else self._order.rows[-1:]))
        return [(height, width) for height, width in found.tolist()]

    def _wanted(
        self, rows: npt.NDArray[np.int64], visits: npt.NDArray[np.int64] | int
    ) -> tuple[Windows | PlannedSteps, npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        """What becomes of some samples, and of each the first row of its pixels that is needed and how many are."""
        pipeline = self._pipeline
        table, options = pipeline.table, pipeline.options
        chances = table.chances(rows, visits, options.seed, self.epoch)
        short = options.short_form() if pipeline.transform is None else pipeline.transform.short
        if pipeline.transform is not None and short is None:
            plans = [table.plan(steps, chances, rows) for steps in pipeline.transform.lists]
            plan = plans[0] if len(plans) == 1 else interleaved(plans)
            none = np.zeros(len(rows), np.int32)
            return (plan, *(plan.rows_needed() if table.segments is not None else (none, none)))
        sizes = table.sizes(rows)
        assert short is not None
        found = short.windows(chances, sizes)
        height, width = short.crop
        inside = (sizes[:, 0] >= width) & (sizes[:, 1] >= height)
        return found, np.where(inside, found.corners[:, 1], 0), np.where(inside, height, sizes[:, 1])

    def _top_up(self) -> None:
        """Keep the queues full: requests for bytes ahead of decoding, decoding ahead of the consumer."""
        reader, prefetch = self._pipeline.reader, self._pipeline.prefetch
        while len(self._fetching) + len(self._decoding) < prefetch + reader.ahead:
            if not self._planned:
                if self._next_planned == len(self._turns):
                    break
                self._plan_block()
            plan = self._planned.popleft()
            request = reader.request(plan.ranges)
            self._fetching.append(_Work(plan, request))
        while self._fetching and len(self._decoding) < prefetch and self._fetching[0].request.ready():
            self._submit()

    def _submit(self) -> None:
        work = self._fetching[0]
        try:
            source = work.request.source()
        except OSError as error:
            work.error = error  # raised in its turn: the batches before it are good
        else:
            work.rendering = self._pipeline.renderer.submit(source, work.plan.wanted, work.plan.window)
        self._decoding.append(self._fetching.popleft())

    # -- handing over --------------------------------------------------------------------------------------------------

    def __next__(self) -> Batch:
        if self.finished:
            raise StopIteration
        if os.getpid() != self._pid:
            raise RuntimeError("this epoch was begun before a fork; its threads stayed with the parent. Iterate anew.")
        began = stats.now()
        if self._left_at is not None:
            self._pipeline.counter.consumer(began - self._left_at)
        try:
            self._top_up()
            if self._given == len(self._turns):
                self._progress.epoch, self._progress.position = self.epoch + 1, 0
                raise StopIteration
            batch = self._oldest(began)
        except BaseException:
            self.close()
            raise
        self._left_at = stats.now()
        return batch

    def _oldest(self, began: float) -> Batch:
        ready = sum(1 for work in self._decoding if work.rendering is not None and work.rendering.wait(0))
        while not self._decoding:
            self._fetching[0].request.wait(_POLL_SECONDS)
            self._top_up()
        fetched = stats.now()
        work = self._decoding[0]
        if work.error is not None:
            raise work.error
        assert work.rendering is not None
        while not work.rendering.wait(_POLL_SECONDS if self._fetching else _LONG_POLL_SECONDS):
            self._top_up()  # bytes may have come in meanwhile
        decoded = stats.now()
        self._decoding.popleft()
        batch, skipped = self._collect(work)
        self._top_up()
        times = work.rendering.stats()
        # The decoder's threads read local files themselves: of the wait for them, reading has the share it had of their
        # time.
        reading = times.read_seconds / max(times.read_seconds + times.decode_seconds, 1e-9)
        self._pipeline.counter.add(
            images=len(batch),
            size_bytes=int(work.plan.ranges.sizes.sum()),
            skipped=skipped,
            ready=ready,
            wait=stats.now() - began,
            storage_wait=fetched - began + (decoded - fetched) * reading,
            storage=work.request.seconds() + times.read_seconds,
            decode=times.decode_seconds,
        )
        self._given += 1
        self._progress.position = self._steps.bounds(work.plan.step)[1]
        return batch

    def _collect(self, work: _Work) -> tuple[Batch, int]:
        assert work.rendering is not None
        errors = work.rendering.errors()
        images, plan, views = work.rendering.images(), work.plan, work.plan.views
        # Copies: a batch that is kept or sent elsewhere should not take its block of the plan along.
        rows, label, subset = plan.rows.copy(), plan.label.copy(), plan.subset.copy()
        if errors:
            for error in errors:
                self._pipeline.failures.judge(error, int(rows[error.index]), self._pipeline.table)
            keep = np.ones(len(rows), bool)
            keep[[error.index for error in errors]] = False
            rows, label, subset = rows[keep], label[keep], subset[keep]
            images = kept(images, keep if views is None else keep.repeat(views))
            views = None if views is None else views[keep]
        columns, transform = self._pipeline.columns, self._pipeline.transform
        if transform is not None and transform.shape:
            images = images.view(len(rows), *transform.shape, *images.shape[1:])
        batch = Batch(
            images=images,
            labels=torch.from_numpy(label),
            generators=torch.from_numpy((subset + 1) * label),
            subsets=torch.from_numpy(subset),
            rows=torch.from_numpy(self._pipeline.table.places(rows)),
            keys=lambda: columns.keys(rows),
            view_of=None if transform is None or transform.views != "all" or views is None else _view_of(views),
            epoch=self.epoch,
            step=self._steps.before + plan.step,  # resumed: those before count too
            degradations=None if transform is None else transform.degradations,
            normalization=self._pipeline.options.normalization,
        )
        return batch, len(plan.rows) - len(rows)

    @property
    def left(self) -> int:
        """Batches that are still to come."""
        return len(self._turns) - self._given

    # -- ending --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop: nothing of this epoch is worked on any more when this returns."""
        self.finished = True
        works = [*self._decoding, *self._fetching]
        self._decoding.clear()
        self._fetching.clear()
        if os.getpid() != self._pid:
            return  # the threads that work on these are the parent's
        for work in works:
            work.request.cancel()
            if work.rendering is not None:
                work.rendering.cancel()
        for work in works:
            while work.rendering is not None and not work.rendering.wait(_POLL_SECONDS):
                pass

    def __del__(self) -> None:
        if hasattr(self, "_fetching") and not self.finished:
            self.close()


def _close_all() -> None:
    """Before the interpreter takes modules apart, which `Epoch.close` needs."""
    for epoch in list(_living):
        epoch.close()


_living: weakref.WeakSet[Epoch] = weakref.WeakSet()
atexit.register(_close_all)


def as_it_is(batch: Batch) -> Batch:
    """The batch itself."""
    return batch


class Running(Protocol):
    """An `Epoch`, or one whose batches bring others along."""

    @property
    def left(self) -> int: ...

    def __next__(self) -> Batch: ...

    def close(self) -> None: ...


class Pass(Iterator[Batch]):
    """The iterator of `iter(loader)`: the epoch begins with the first batch that is asked for.

    Trainers call `iter` just to see whether it works (Lightning does before every fit): that must not use up an epoch,
    or the rest of a resumed one. Several threads may take batches: each gets others.
    """

    def __init__(self, begin: Callable[[], Running], change: Callable[[Batch], Any] = as_it_is) -> None:
        self._begin = begin
        self._change = change
        self._epoch: Running | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._seen: accelerator.EpochUnderWay | None = None

    def __next__(self) -> Batch:
        with self._lock:
            if self._closed:
                raise StopIteration
            if self._epoch is None:
                self._epoch = self._begin()
                self._seen = accelerator.enter()
            try:
                batch = next(self._epoch)
            except BaseException:
                self._leave()
                raise
            if self._seen is not None:
                self._seen.end_of_dataloader = self._epoch.left == 0
        return cast(Batch, self._change(batch))

    def close(self) -> None:
        """Stop: nothing of this epoch is worked on any more when this returns."""
        with self._lock:
            self._closed = True
            self._leave()
            if self._epoch is not None:
                self._epoch.close()

    def _leave(self) -> None:
        if self._seen is not None:
            self._seen.end()
            self._seen = None

    def __del__(self) -> None:
        if hasattr(self, "_seen"):
            self._leave()


def _view_of(views: npt.NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(np.repeat(np.arange(len(views)), views))


def _first_come(codes: npt.NDArray[np.int32]) -> list[int]:
    """The distinct codes in the order in which they first come."""
    first = np.full(int(np.max(codes, initial=-1)) + 1, -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # of several assignments to one place the last one stays
    distinct = np.nonzero(first >= 0)[0]
    found: list[int] = distinct[np.argsort(first[distinct])].tolist()
    return found
