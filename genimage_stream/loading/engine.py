"""Carries the schedule out: what is made once per loader and process, and used by every epoch."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.backends.cpu import CpuRenderer
from genimage_stream.backends.cuda import DeviceRenderer
from genimage_stream.backends.dali import DaliRenderer
from genimage_stream.backends.dali_options import DaliOptions, load_dali
from genimage_stream.backends.device import resolve_device
from genimage_stream.backends.renderer import Renderer
from genimage_stream.dataset.access import Access
from genimage_stream.dataset.pairs import pair_rows
from genimage_stream.dataset.sameness import Watch
from genimage_stream.decode import BatchDecoder, Limits
from genimage_stream.loading.buffers import BufferPool
from genimage_stream.loading.company import ArrayReader, Company, open_arrays
from genimage_stream.loading.draws import merged
from genimage_stream.loading.epoch import Epoch, Pipeline
from genimage_stream.loading.failures import Failures
from genimage_stream.loading.options import LoaderOptions, default_prefetch, default_threads
from genimage_stream.loading.samples import SampleTable
from genimage_stream.loading.schedule import Progress, Schedule
from genimage_stream.loading.stats import StatsCounter
from genimage_stream.loading.transform import LoaderTransform
from genimage_stream.order.by_size import SizedSteps
from genimage_stream.order.nodes import NodeSteps
from genimage_stream.order.plan import Order, Steps
from genimage_stream.storage.store import Reader
from genimage_stream.storage.verified import VerifiedReader
from genimage_stream.transforms.step import Draw, Size

log = logging.getLogger("genimage_stream")


class Engine:
    """Gives the epochs of `schedule`. Files are opened, and threads started, with the first epoch."""

    def __init__(self, access: Access, options: LoaderOptions, leader: Engine | None = None) -> None:
        """`leader`: that of the dataset which this one follows, with the same transform and chance."""
        self.options = options
        variants = options.variants(access.steps)
        self.transform: LoaderTransform | None
        self.schedule: Schedule
        if leader is not None:
            self.transform = leader.transform
        else:
            self.transform = None if variants is None else LoaderTransform.of(variants, access)
        if variants is not None or options.position == "random" or options.flip:
            access.columns.need_hashes()
        if options.backend == "dali" and self.transform is not None and self.transform.short is None:
            raise ValueError(
                'backend="dali" takes one crop and a RandomHorizontalFlip as transform, of images no smaller than the '
                'crop; backend="cpu" takes all steps, with device="cuda" too'
            )
        if options.backend == "dali":
            load_dali()  # its absence is an error here, not in the first epoch
        self.schedule = Schedule(access, options, self.transform) if leader is None else leader.schedule
        self.device = resolve_device(options.device)
        self.dali = options.dali or DaliOptions()
        on_dali = options.backend == "dali"
        self.threads = options.threads or default_threads(dali_on_gpu=on_dali and self.device.type == "cuda")
        self.prefetch = options.prefetch or default_prefetch(self.threads, options.batch_size)
        if on_dali and options.prefetch is None:
            self.prefetch += self.dali.ahead  # those that the core is done with and DALI is not
        self.counter = StatsCounter(self.prefetch, self.threads)
        self._warned = False
        self._access = access
        self._watch = Watch(access.columns, access.chosen)
        beside = None if leader is None else leader._failures
        self._failures: Failures = Failures(
            access, skip=options.on_error == "skip", limit=options.most_errors, beside=beside
        )
        self._leader = leader
        self._arrays = open_arrays(options, access)
        self._array_reader: tuple[int, ArrayReader] | None = None  # with the process that made it
        self._follower: Engine | None = None
        if options.pairs is not None:
            self._pair_rows = pair_rows(access, options.pairs.access)
            if options.pairs.steps != access.steps:
                raise ValueError("pairs carries other steps than the dataset: take both, or neither, from gs.unbiased")
            alone = replace(options, pairs=None, with_arrays=None, mix=None, epoch_size="all", drop_last=False)
            self._follower = Engine(options.pairs.access, alone, self)
        self._opened: tuple[int, SampleTable, Reader] | None = None  # with the process that opened it
        self._renderer: tuple[int, Renderer] | None = None  # with the process that made it

    @property
    def window(self) -> tuple[int, int]:
        """(height, width) of a batch's images, unless batches have their own."""
        return self.sizes[0]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """All (height, width) that images of a batch may have, in the order in which they come."""
        if self.transform is None:
            return [self.options.crop_size]
        size = self.transform.size
        return [(size.height, size.width)] if isinstance(size, Size) else size.all()

    def draws(self, rows: npt.NDArray[np.int64], epoch: int, visit: int) -> list[list[Draw]]:
        """What is drawn for rows of the index."""
        table = self._open()[0]
        chances = table.chances(rows, visit, self.options.seed, epoch)
        if self.transform is None:
            return self.options.short_form().draws(chances, table.sizes(rows))
        of_lists = [table.draws(steps, chances, rows) for steps in self.transform.lists]
        if not self.transform.shape:
            return of_lists[0]
        return [merged(of_pictures, self.transform) for of_pictures in zip(*of_lists, strict=True)]

    def begin(self, progress: Progress, first: int = 0, every: int = 1) -> Epoch | Company:
        """Begin at a place of an epoch and keep `progress` up to date. Of the steps from there only `first`,
        `first + every`, ... are given."""
        progress.shares = self.schedule.shares(progress.shares if progress.position else 0)
        order = self.schedule.order(progress.epoch, progress.shares)
        steps = self.schedule.steps(progress.position, progress.shares)
        if isinstance(steps, NodeSteps):
            order = steps.arranged(order)
        if steps.empty and not self._warned:
            self._warned = True
            log.warning(
                "the last batch of an epoch is empty on %d of %d ranks: %d samples are left for them%s",
                steps.empty,
                steps.world_size,
                steps.world_size - steps.empty,
                "; batch_size=2 or more shares the last samples evenly" if steps.batch_size == 1 else "",
            )
        turns = range(first, len(steps), every)
        rank = self.schedule.placement().rank
        pairs = None
        if self._follower is not None:
            followed = Order(self._pair_rows[order.rows], order.occurrences)
            pairs = self._follower._epoch(followed, steps, turns, rank, Progress(progress.epoch, progress.position))
        epoch = self._epoch(order, steps, turns, rank, progress)
        if pairs is None and not self._arrays:
            return epoch
        batches = (order.rows[slice(*steps.part(step, rank))] for step in turns)
        rows_of = self._access.rows.__getitem__
        left_out = self.counter.left_out
        return Company(
            epoch, self._get_array_reader(), batches, self.prefetch, rows_of, pairs, self._pair_places, left_out
        )

    def _pair_places(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Of places in the dataset those of their pairs, in the second dataset."""
        assert self._follower is not None
        return self._follower._open()[0].places(self._pair_rows[self._access.rows[places]])

    def _epoch(self, order: Order, steps: Steps | SizedSteps, turns: range, rank: int, progress: Progress) -> Epoch:
        renderer = self._get_renderer()
        table, reader = self._open()
        self._watch.look()
        pipeline = Pipeline(
            self.options,
            self.transform,
            self.prefetch,
            self._access.columns,
            table,
            reader,
            renderer,
            self._failures,
            self.counter,
        )
        return Epoch(pipeline, order, steps, turns, rank, progress)

    def _get_array_reader(self) -> ArrayReader | None:
        if not self._arrays:
            return None
        if self._array_reader is None or self._array_reader[0] != os.getpid():  # a fork leaves threads behind
            if self._array_reader is not None:
                self._arrays = open_arrays(self.options, self._access)  # and shares a file's position
            self._array_reader = os.getpid(), ArrayReader(self._access, self._arrays)
        return self._array_reader[1]

    def _identities(self) -> npt.NDArray[np.uint64]:
        """Of all rows of the index what chance is keyed by: of a dataset that follows another one, that of the pair."""
        assert self._leader is not None
        found = np.zeros(self._access.columns.num_rows, np.uint64)
        rows = self._leader._access.rows
        found[self._leader._pair_rows[rows]] = self._leader._access.columns.hashes()[rows]
        return found

    def _open(self) -> tuple[SampleTable, Reader]:
        if self._opened is None or self._opened[0] != os.getpid():  # a fork leaves a reader's threads behind
            reader = self._access.reader()
            if self.options.verify_bytes:
                reader = VerifiedReader(reader, self._access.shards()[1], self._access.contents(), self.threads)
            table = SampleTable.of(self._access, parts=reader.wants_parts)
            if self._leader is not None:
                table = replace(table, hashes=cache(self._identities))
            self._opened = os.getpid(), table, reader
            self._access.columns.keep()
        return self._opened[1:]

    def _get_renderer(self) -> Renderer:
        if self._renderer is not None and self._renderer[0] == os.getpid():
            return self._renderer[1]
        if self._leader is not None:
            decoder = self._leader._get_renderer().decoder
        elif self._renderer is None:
            decoder = BatchDecoder(self.threads, strict=self.options.strict, limits=self.options.limits or Limits())
        elif self._renderer[1].survives_fork:
            decoder = self._renderer[1].decoder  # starts new threads; what the renderer had queued stays the parent's
        else:
            raise RuntimeError(
                f'backend="{self.options.backend}" with device={str(self.device)!r} has begun work in the parent '
                "process; DALI and CUDA do not survive a fork. Make the loader in a process of its own (start method "
                "spawn)."
            )
        pictures = 1 if self.transform is None else len(self.transform.lists)
        renderer = new_renderer(self.options, decoder, self.device, self.dali, self.prefetch, self.window, pictures)
        self._renderer = os.getpid(), renderer
        return renderer


def new_renderer(
    options: LoaderOptions,
    decoder: BatchDecoder,
    device: torch.device,
    dali: DaliOptions,
    prefetch: int,
    window: tuple[int, int],
    pictures: int,
) -> Renderer:
    """The backend that the options ask for, with buffers for `prefetch` batches of `window` (height, width), of several
    `pictures` of each sample."""
    pixels = options.pixels()
    on_host = options.backend == "cpu" and device.type == "cpu"  # else the last steps happen on the device
    buffers = BufferPool(
        (options.batch_size * pictures, 3, *window),
        pixels.output if on_host else "uint8",
        pinned=torch.cuda.is_available() if options.pin_memory is None else options.pin_memory,
        reuse=not options.copy,
        keep=prefetch + 2,
    )
    if on_host:
        return CpuRenderer(decoder, buffers, pixels, channels_last=options.channels_last)
    if options.backend == "cpu":
        return DeviceRenderer(decoder, buffers, pixels, device=device, channels_last=options.channels_last)
    return DaliRenderer(
        decoder,
        buffers,
        pixels,
        window=window,
        batch_size=options.batch_size,
        device=device,
        options=dali,
        channels_last=options.channels_last,
    )
