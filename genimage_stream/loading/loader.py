"""The loader: carries a plan out. Fetch, decode, batch; state, statistics, errors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch

from genimage_stream.arguments import (
    LAST_EPOCH,
    default_prefetch,
    default_threads,
    epoch_number,
    flag,
    one_of,
    order_name,
    whole,
    window_size,
)
from genimage_stream.backends.cpu import CpuRenderer, Renderer
from genimage_stream.backends.cuda import DeviceRenderer
from genimage_stream.backends.dali import DaliOptions, DaliRenderer, load_dali, resolve_device
from genimage_stream.backends.dali_tuning import tuned
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.groups import mixture_of
from genimage_stream.decode import BatchDecoder, Limits
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.buffers import DTYPES, BufferPool
from genimage_stream.loading.epoch import Epoch, Pass, Progress, SampleTable, Skipped
from genimage_stream.loading.stats import Stats, StatsCounter
from genimage_stream.loading.torch_dataset import LoaderDataset, group_placement
from genimage_stream.order.geometry import Position, Small
from genimage_stream.order.mixing import EpochSize, Mix, plain_mix
from genimage_stream.order.philox import split_seed
from genimage_stream.order.plan import Order, Steps, epoch_order
from genimage_stream.storage.store import Reader

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Batch", "Loader"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STATE_VERSION = 1


class Loader(Iterable[Batch]):
    """Batches of a dataset, every sample exactly when it should come. One `for` is one epoch, the next one the next.

    What comes when follows from (dataset, seed, epoch, shuffle) alone, and each sample's pixels from (seed, epoch,
    sample): threads, prefetching, the number of ranks and interruptions change nothing.

    * `batch_size`: samples of one rank's batch; `crop`: side of the square window, or (height, width).
    * `shuffle`: True or "full", any order of all samples; "shards", `window` shards at a time in random order, samples
      mixed within the window (for object stores and spinning disks); False, the order of the index.
    * `mix`: how often samples come, e.g. `{"label": "equal"}` (see `genimage_stream.order.mixing`), in epochs of
      `epoch_size` samples: a number, "all" (as many as the dataset has), "min" (no sample twice) or "max" (every sample).
    * `rank`, `world_size`: by default those of the torch.distributed process group, if there is one when an epoch
      begins. Every rank runs the same number of steps. Nothing is padded or repeated: the last batch may be smaller, or
      empty on some ranks; `drop_last` leaves it out.
    * `threads`: of the decoder, by default as many as there are CPUs to run on, beside DALI on a GPU two fewer.
      `prefetch`: batches decoded ahead.
    * `backend`: "cpu", or "dali", which leaves sequential JPEGs to the GPU (docs/dali.md). `device`: where the
      images are, by default in host memory; backend="cpu" with a CUDA device decodes on the CPU and is bit-equal.
      `dali`: how DALI works, a `DaliOptions`; `tune`: find that out by some seconds of trials, the first time.
      `channels_last`: the same (n, 3, height, width) with the channels next to each other in memory.
    * `output`: "uint8", or "float16" / "float32", which are (pixel / 255 - mean) / std per channel.
    * `crop_position`: "random" or "center"; by default random where the order is, else center. `flip`: mirror half of
      the samples; False by default, because it is an augmentation. `small`: how an image smaller than the crop goes on
      beyond its right and lower edge: "tile", "reflect", "constant" (`fill`), or "resize", enlarged beforehand.
    * `on_error`: "raise" a DecodeError for an image that does not decode, or "skip" it: then its batch is smaller, it
      is logged once and counted, and more than `max_errors` different ones in this process are an error. A missing or
      truncated shard is an OSError either way. `strict`: trailing damage that decoders can paint over is an error too.
    * `pin_memory`: page-locked images for copies to a GPU; by default when CUDA is there. `copy`: never reuse memory.
      Not needed for safety: memory is reused only when nobody holds the batch any more.

    Raises ValueError for options that make no sense, each naming the option, and TypeError for what is no dataset.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 64,
        *,
        crop: int | tuple[int, int] = 224,
        shuffle: bool | Literal["full", "shards"] = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        backend: Literal["cpu", "dali"] = "cpu",
        device: str | torch.device | None = None,
        dali: DaliOptions | None = None,
        tune: bool = False,
        channels_last: bool = False,
        output: Literal["uint8", "float16", "float32"] = "uint8",
        drop_last: bool = False,
        window: int = 16,
        mix: Mix | None = None,
        epoch_size: EpochSize = "all",
        crop_position: Position | None = None,
        flip: bool = False,
        small: Small = "tile",
        fill: Sequence[int] = (0, 0, 0),
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        prefetch: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_errors: int = 100,
        strict: bool = True,
        limits: Limits | None = None,
        pin_memory: bool | None = None,
        copy: bool = False,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name not in ("self", "dataset")}
        if not isinstance(dataset, Dataset):
            raise TypeError(f"{dataset!r} is no dataset: gs.open_dataset(path) gives one")
        one_of("backend", backend, ("cpu", "dali"))
        self.shuffle = order_name(shuffle)
        one_of("output", output, tuple(DTYPES))
        one_of("small", small, ("tile", "reflect", "constant", "resize"))
        one_of("on_error", on_error, ("raise", "skip"))
        if crop_position is not None:
            one_of("crop_position", crop_position, ("random", "center"))
        for name in ("drop_last", "flip", "strict", "copy", "tune", "channels_last"):
            flag(name, self._arguments[name])
        seed = whole("seed", seed, -(1 << 64))
        split_seed(seed)  # an impossible one is an error here, not in the first epoch
        height, width = window_size(crop)
        batch_size = whole("batch_size", batch_size, 1)
        window = whole("window", window, 1)
        max_errors = whole("max_errors", max_errors, 0)
        threads = None if threads is None else whole("threads", threads, 1, " (None: one per CPU)")
        prefetch = None if prefetch is None else whole("prefetch", prefetch, 1)
        rank = None if rank is None else whole("rank", rank, 0)
        world_size = None if world_size is None else whole("world_size", world_size, 1)
        if not len(dataset):
            raise ValueError(f"the selection of {dataset.path} is empty: nothing to load")
        if (rank is None) != (world_size is None):
            raise ValueError("rank and world_size are given together, or both left to torch.distributed")
        if rank is not None and world_size is not None and rank >= world_size:
            raise ValueError(f"rank={rank} is not one of world_size={world_size}")

        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.seed = seed
        self.window = window
        if mix is None and epoch_size != "all":
            raise ValueError(f"epoch_size={epoch_size!r} needs a mix: without one an epoch is every sample once")
        self._mixture = None if mix is None else mixture_of(dataset.access, mix, epoch_size)
        self._mix = None if mix is None else plain_mix(mix)
        self.epoch_samples = len(dataset) if self._mixture is None else self._mixture.size
        self.on_error = on_error
        self.skipped = Skipped(max_errors)
        self.backend = backend
        self.device = None if device is None and backend == "cpu" else resolve_device(device)
        self._on_gpu = self.device is not None and self.device.type == "cuda"
        self.threads = threads or default_threads(dali_on_gpu=backend == "dali" and self._on_gpu)
        self.prefetch = prefetch or default_prefetch(self.threads, batch_size)
        self._placed = None if rank is None or world_size is None else (rank, world_size)
        self._steps()  # an epoch without any is an error here, as far as the ranks are known
        self._next_epoch = 0
        self._start = 0
        self._progress = Progress(0, 0)
        self._decoder: BatchDecoder | None = None
        self._strict, self._limits = strict, limits or Limits()

        position = crop_position or ("center" if self.shuffle == "none" else "random")
        self.geometry: dict[str, Any] = {
            "crop": (height, width),
            "position": position,
            "flip": flip,
            "small": small,
            "seed": seed,
        }
        self.rendering: dict[str, Any] = {"small": small, "fill": tuple(fill)}
        if output != "uint8":
            self.rendering |= {"mean": tuple(mean), "std": tuple(std)}
        self.output = output
        self.channels_last = channels_last
        self._renderer: tuple[int, Renderer] | None = None  # with the process that made it
        if backend == "dali":
            load_dali()  # its absence is an error here, not in the first epoch
        elif tune or dali is not None:
            raise ValueError('tune and dali are options of backend="dali"')
        if not isinstance(dali, (DaliOptions, type(None))):
            raise ValueError(f"dali={dali!r}: a DaliOptions is needed, as gs.DaliOptions(threads=4)")
        if tune and dali is None:
            size: Any = {"batch_size": batch_size, "crop": (height, width)}
            ahead: Any = {"threads": threads, "prefetch": prefetch}
            dali = tuned(dataset, device=self.device, output=output, **ahead, **size)
        self.dali = dali or DaliOptions()
        if backend == "dali" and prefetch is None:
            self.prefetch += self.dali.ahead  # those that the core is done with and DALI is not
        pinned = torch.cuda.is_available() if pin_memory is None else pin_memory
        shape = (batch_size, 3, height, width)
        decoded = "uint8" if backend == "dali" or self._on_gpu else output  # the rest happens on the device
        self.buffers = BufferPool(shape, decoded, pinned=pinned, reuse=not copy, keep=self.prefetch + 2)
        self.counter = StatsCounter(self.prefetch, self.threads)
        self._opened: tuple[int, SampleTable, Reader] | None = None

    # -- the plan ------------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> Order:
        """The samples of an epoch in the order in which they come, over all ranks."""
        if self._mixture is not None:
            drawn = self._mixture.order(seed=self.seed, epoch=epoch)
        elif self.dataset.whole and self.shuffle != "shards":
            return epoch_order(len(self.dataset), seed=self.seed, epoch=epoch, shuffle=self.shuffle)
        else:
            drawn = Order(self.dataset.rows)
        shards = self.dataset.shards()[0][drawn.rows] if self.shuffle == "shards" else None
        return epoch_order(drawn, seed=self.seed, epoch=epoch, shuffle=self.shuffle, shards=shards, window=self.window)

    def placement(self) -> tuple[int, int]:
        """(rank, world size) of this process."""
        if self._placed is not None:
            return self._placed
        return group_placement() or (0, 1)

    def __len__(self) -> int:
        """Batches of a whole epoch, the same on every rank."""
        return len(self._steps())

    def _steps(self, start: int = 0) -> Steps:
        """The steps of an epoch from a place on. Raises ValueError when a whole epoch has none."""
        world_size = self.placement()[1]
        steps = Steps(self.epoch_samples, self.batch_size, world_size, self.drop_last, start)
        if self.drop_last and steps.global_batch > self.epoch_samples:
            step = f"batch_size={self.batch_size} on {world_size} ranks takes {steps.global_batch} samples"
            raise ValueError(f"drop_last=True leaves nothing: {step}, an epoch has {self.epoch_samples}")
        return steps

    def __iter__(self) -> Pass:
        return Pass(self.begin_next)

    def begin_next(self) -> Epoch:
        """Begin the epoch that comes next, or the rest of it: what the first `next` of a `for` does."""
        progress = Progress(self._next_epoch, self._start)
        begun = self.begin(progress)
        self.go_to(progress.epoch + 1, 0)
        self._progress = progress
        return begun

    def begin(self, progress: Progress, first: int = 0, every: int = 1) -> Epoch:
        """Begin at a place of an epoch, and keep it up to date; or only with every so many of the steps from there."""
        order = self.order(progress.epoch)
        steps = self._steps(progress.position)
        return Epoch(self, order, steps, range(first, len(steps), every), self.placement()[0], progress)

    def as_iterable_dataset(self) -> LoaderDataset:
        """The same batches as a `torch.utils.data.IterableDataset`, for those who want a DataLoader around it.

        `DataLoader(loader.as_iterable_dataset(), batch_size=None, num_workers=n)` gives them in the same order. It
        begins where this loader stands. Its rank is the loader's: the one given, or that of the process group by then.
        """
        return LoaderDataset(self.dataset, self._arguments, self.placement(), self._next_epoch, self._start)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.dataset, self._arguments, self._next_epoch, self._start)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that the next `for` begins, or goes on with after `load_state_dict`."""
        return self._next_epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next `for` that epoch. A place inside it, by `load_state_dict`, stays."""
        epoch = epoch_number(epoch)
        if epoch != self._next_epoch:
            self.go_to(epoch, 0)

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Where Lightning looks for a `sampler.set_epoch`, which it calls before every epoch."""
        return SimpleNamespace(sampler=self)

    def go_to(self, epoch: int, position: int) -> None:
        """Make the next `for` begin after the first `position` samples of an epoch, counted over all ranks."""
        self._next_epoch, self._start = epoch, position
        self._progress = Progress(epoch, position)

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer stands: what it has received counts, what was prefetched does not.

        A few hundred bytes of plain numbers and strings, the same on every rank after the same number of steps.
        """
        at = self._progress
        return {"version": STATE_VERSION, "epoch": at.epoch, "position": at.position, **self.identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, exactly, whatever the world size and batch size are now.

        The next `for` gives the rest of that epoch. Raises ValueError when the state belongs to another dataset,
        selection, seed or order, naming what differs.
        """
        self.go_to(*self.check_state(state))

    def check_state(self, state: dict[str, Any]) -> tuple[int, int]:
        """Epoch and position of a state. Raises ValueError as `load_state_dict`."""
        if not isinstance(state, Mapping):
            raise ValueError(f"state {state!r}: a mapping is needed, as state_dict gave it")
        missing = [name for name in ("version", "epoch", "position") if name not in state]
        if missing:
            raise ValueError(f"the state has no {', '.join(missing)}: it is not one of a loader")
        if state["version"] != STATE_VERSION:
            raise ValueError(f"the state has version {state.get('version')}; this loader reads version {STATE_VERSION}")
        mine = self.identity()
        names = [name for name in {**mine, **state} if name not in ("version", "epoch", "position")]
        other = [f"{n}: {state.get(n)!r}, here {mine.get(n)!r}" for n in names if state.get(n) != mine.get(n)]
        if other:
            raise ValueError(f"the state belongs to another run ({'; '.join(other)})")
        epoch, position = (whole(name, state[name], -(1 << 64)) for name in ("epoch", "position"))
        if not 0 <= epoch <= LAST_EPOCH or not 0 <= position <= self.epoch_samples:
            raise ValueError(f"the state's place, epoch {epoch} position {position}, does not exist")
        return epoch, position

    def identity(self) -> dict[str, Any]:
        """What decides which sample comes when; states can go between loaders that agree on it."""
        window = self.window if self.shuffle == "shards" else None
        order: dict[str, Any] = {"seed": self.seed, "shuffle": self.shuffle, "window": window}
        if self._mix is not None:
            order |= {"mix": self._mix, "epoch_samples": self.epoch_samples}
        return {"dataset": self._digest, **order}

    @cached_property
    def _digest(self) -> str:
        return self.dataset.digest()

    # -- carrying out --------------------------------------------------------------------------------------------------

    def open(self) -> tuple[SampleTable, Reader]:
        """Where every sample is, what it is, and what fetches it; the index is read on first use."""
        if self._opened is None or self._opened[0] != os.getpid():  # a fork leaves a reader's threads behind
            columns = self.dataset.columns
            columns.load("shard", "offset", "size", "width", "height", "label", "generator")
            shard, paths = self.dataset.shards()
            offset, size = columns.numbers("offset", "size")
            width, height = columns.native("width", "height")
            reader = self.dataset.reader()
            table = SampleTable(
                shard,
                paths,
                offset,
                size,
                width,
                height,
                label=columns.words("label")[0],
                generator=columns.words("generator")[0],
                label_number=self.dataset.label_numbers(),
                fake_number=np.arange(1, len(self.dataset.generators) + 1),
                segments=columns.segments() if reader.wants_parts else None,
            )
            self._opened = os.getpid(), table, reader
        return self._opened[1:]

    def decoder(self) -> BatchDecoder:
        """The decoder's threads, started on first use."""
        if self._decoder is None:
            self._decoder = BatchDecoder(self.threads, strict=self._strict, limits=self._limits)
        return self._decoder

    def renderer(self) -> Renderer:
        """The backend, made on first use."""
        if self._renderer is None:
            self._renderer = os.getpid(), self._new_renderer()
        if (self.backend == "dali" or self._on_gpu) and self._renderer[0] != os.getpid():
            raise RuntimeError(
                f'backend="{self.backend}" with device={str(self.device)!r} has begun work in the parent process; DALI '
                "and CUDA do not survive a fork. Make the loader in a process of its own (start method spawn)."
            )
        return self._renderer[1]

    def _new_renderer(self) -> Renderer:
        decoder, buffers, rendering = self.decoder(), self.buffers, self.rendering
        if self.backend == "cpu" and not self._on_gpu:
            return CpuRenderer(decoder, buffers, rendering, channels_last=self.channels_last)
        assert self.device is not None
        there: Any = {"output": self.output, "device": self.device, "channels_last": self.channels_last}
        if self.backend == "cpu":
            return DeviceRenderer(decoder, buffers, rendering, **there)
        size: Any = {"window": self.geometry["crop"], "batch_size": self.batch_size}
        return DaliRenderer(decoder, buffers, rendering, options=self.dali, **size, **there)

    def stats(self) -> Stats:
        """What was loaded and where the time went, since the loader was made or `reset_stats` was called."""
        return self.counter.snapshot()

    def reset_stats(self) -> None:
        self.counter.reset()


def _rebuild(dataset: Dataset, arguments: dict[str, Any], epoch: int, start: int) -> Loader:
    loader = Loader(dataset, **arguments)
    loader.go_to(epoch, start)
    return loader
