"""`gs.Loader`: batches of a dataset, epoch by epoch, with a state, statistics and errors that name the sample."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch

from genimage_stream.arguments import WrongKindError, explains_unknown, whole
from genimage_stream.backends.dali_options import DaliOptions
from genimage_stream.backends.dali_tuning import Work, tuned
from genimage_stream.backends.device import resolve_device
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.decode import Limits
from genimage_stream.decode.pixels import Output, Small
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.company import Company
from genimage_stream.loading.engine import Engine
from genimage_stream.loading.epoch import Epoch, Pass, as_it_is
from genimage_stream.loading.options import LAST_EPOCH, LoaderOptions, Normalize, epoch_number
from genimage_stream.loading.passes import Passes
from genimage_stream.loading.receipt import Subject, write_receipt
from genimage_stream.loading.schedule import Place, Progress
from genimage_stream.loading.stats import Stats
from genimage_stream.loading.torch_dataset import LoaderDataset
from genimage_stream.loading.trainer_epochs import LoadersDataset, LoaderSteps, StepsInOrder
from genimage_stream.loading.transform import LoaderTransform, steps_of
from genimage_stream.loading.variants import Degrade, Variants
from genimage_stream.order.mixing import EpochSize, Mix
from genimage_stream.order.windows import Position
from genimage_stream.transforms.step import Size, Step
from genimage_stream.transforms.views import Views

__all__ = ["Batch", "Loader"]

log = logging.getLogger("genimage_stream")

#: What to write in place of arguments that it does not have.
_INSTEAD = {
    **dict.fromkeys(("mean", "std"), 'write normalize=(mean, std), or normalize="imagenet", "clip", "half" or "none"'),
    **dict.fromkeys(("num_workers", "workers"), "decoding is done by threads=, not by worker processes"),
    **dict.fromkeys(("transforms", "augment"), "write transform=[...], a list of steps"),
    "collate_fn": "set loader.collate_fn once it is made",
    **dict.fromkeys(("sampler", "weights"), "write mix={...} for what is drawn how often"),
    "resize": "write transform=[T.Resize(...), T.CenterCrop(...)]",
}


class Loader(Iterable[Batch]):
    """Batches of a dataset. Each `for` loop is one epoch; the next loop continues with the next epoch.

    Which samples come when follows from (dataset, seed, epoch, shuffle, mix) alone, and each sample's pixels from
    (seed, epoch, image, transform): threads, prefetching, the number of ranks and interruptions change nothing.

    Samples and their order
        batch_size      samples in a batch of one rank
        shuffle         True or "full": any order of all samples. "shards": `window` shards (16) at a time in random
                        order, samples mixed within the window (for object stores and spinning disks). "nodes": the
                        same on each node by itself, with a share of the shards that it keeps in its cache for
                        `keep_epochs` epochs (8). False: the index's order
        seed            a whole number from 0 to 2^64 - 1
        mix             how often samples come, e.g. {"label": "equal"}: see `genimage_stream.order.mixing`
        epoch_size      samples of an epoch with a mix: a number, "all" (as many as the dataset has), "min" (as many as
                        possible without repeating one) or "max" (as few as needed to show every one)
        ranks_per_node  with shuffle="nodes": ranks that share a cache; by default torchrun's LOCAL_WORLD_SIZE, else 1
        rank            and `world_size`: by default those of the torch.distributed process group, if there is one when
                        an epoch begins. Every rank runs the same number of steps
        drop_last       omit the last step when it is not full. By default its batches are smaller: nothing is padded
                        or repeated. When it would have fewer samples than ranks, it shares with the step before

    Pixels
        transform       steps of `genimage_stream.transforms`, after which all images have one size; in place of `crop`
                        and the three below it. Or a recipe's name, e.g. "univfd" (training) or "univfd:eval", which
                        also sets `normalize` and `views` unless those are
                        given
        degrade         a degradation of every image that comes first, e.g. "jpeg:65" or "blur:2+jpeg:50"
                        (docs/transforms.md). A list of m gives images (n, m, 3, height, width) and their names in
                        `batch.degradations`
        views           "center", "five" or "ten" crops of each image in torchvision's order, in place of the last
                        CenterCrop or RandomCrop, of its size: images (n, v, 3, height, width), or (n, m, v, ...).
                        "all": each image's crops every `stride` pixels, (sum of v, 3, height, width), with
                        `batch.view_of`. "whole": no crop; batches of images of one size, in the order of sizes
                        (height, width), then of rows, whatever `shuffle` is; `sizes` lists them
        stride          with views="all": pixels, or (down, across), from crop to crop; by default the crop's size
        crop            side of the square window, by default 224, or (height, width), at most 65535 pixels; none with
                        views="whole"
        crop_position   "random" or "center"; by default random where the order is, else center
        flip            mirror half of the samples; an augmentation, so False by default
        small           how an image smaller than the crop continues beyond its right and lower edges: "tile",
                        "reflect", "constant" (with the pixel `fill`), or "resize": enlarged beforehand
        output          "uint8", or "float16" / "float32": (pixel / 255 - mean) / std per channel
        normalize       of floats: "imagenet" (the default), "clip", "half" (mean and std 0.5), "none" (mean 0, std 1)
                        or (mean, std), three numbers each
        pairs           a second dataset that follows this one with the same geometry and chance, e.g. reconstructions
                        of its reals: `batch.pairs` is its batch, of the images with the same split and file name.
                        With on_error="skip" both images of a pair are left out where one of them is damaged
        with_arrays     arrays by key beside the images, e.g. {"lare": "maps"}: `batch.arrays["lare"]` (n, ...), from a
                        folder of KEY.npy files or an .npz file
        channels_last   the same (n, 3, height, width) with the channels next to each other in memory

    Work
        threads         of the decoder; by default one per CPU (of affinity and cgroups' quota; divided by torchrun's
                        LOCAL_WORLD_SIZE), beside DALI on a GPU two fewer
        prefetch        batches decoded ahead
        backend         "cpu", or "dali", which leaves sequential JPEGs to the GPU (docs/dali.md)
        device          where the images are, by default host memory. backend="cpu" with a CUDA device decodes on the
                        CPU and is bit-equal
        dali            how DALI works, a `DaliOptions`
        tune            find `dali` by some seconds of trials, the first time
        pin_memory      page-locked images for copies to a GPU; by default when torch sees a GPU
        copy            allocate memory for every batch. By default it is reused when nothing holds the batch any more

    Errors
        on_error        "raise" a DecodeError for an image that does not decode, or "skip" it: its batch is smaller, and
                        it is logged once and counted. A missing or truncated shard is an OSError either way
        max_errors      skipped samples in this process (100), each counted once; more are an error
        strict          damage at the end of an image, which decoders can paint over, is an error too
        verify_bytes    compare the SHA-256 of every image's bytes with the index before decoding: another one is an
                        OSError. Images are then read whole
        limits          the largest image that is decoded, and the memory for images under way, a `Limits`

    Raises ValueError for an option that makes no sense or has no effect, naming it; TypeError when `dataset` is not a
    Dataset; RuntimeError for a device that is not there; ImportError for `backend="dali"` without DALI.
    """

    @explains_unknown("gs.Loader", _INSTEAD)
    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 64,
        *,
        crop: int | tuple[int, int] | None = None,
        shuffle: bool | Literal["full", "shards", "nodes"] = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        backend: Literal["cpu", "dali"] = "cpu",
        device: str | torch.device | None = None,
        dali: DaliOptions | None = None,
        tune: bool = False,
        channels_last: bool = False,
        output: Output = "uint8",
        drop_last: bool = False,
        window: int | None = None,
        keep_epochs: int | None = None,
        ranks_per_node: int | None = None,
        mix: Mix | None = None,
        epoch_size: EpochSize = "all",
        crop_position: Position | None = None,
        flip: bool = False,
        small: Small = "tile",
        fill: Sequence[int] = (0, 0, 0),
        transform: Sequence[Step] | str | None = None,
        degrade: Degrade | None = None,
        views: Views | None = None,
        stride: int | tuple[int, int] | None = None,
        pairs: Dataset | None = None,
        with_arrays: Mapping[str, str | Path] | None = None,
        normalize: Normalize | tuple[Sequence[float], Sequence[float]] | None = None,
        prefetch: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_errors: int | None = None,
        strict: bool = True,
        verify_bytes: bool = False,
        limits: Limits | None = None,
        pin_memory: bool | None = None,
        copy: bool = False,
    ) -> None:
        options = LoaderOptions(**{name: value for name, value in locals().items() if name not in ("self", "dataset")})
        if not isinstance(dataset, Dataset):
            raise WrongKindError(f"{dataset!r} is no dataset: gs.open_dataset(path) gives one")
        if options.tune:
            options = replace(options, tune=False, dali=_tuned(dataset, options))
        self.dataset: Dataset = LoadersDataset(dataset.access)
        self.options = options
        self._engine = Engine(dataset.access, options)
        self._next = Place(0, 0)
        self._progress = Progress(0, 0)
        #: What `for` gives of each batch, by default the `Batch`; `gs.collate_dict` makes dicts for transformers.
        self.collate_fn: Callable[[Batch], Any] = as_it_is
        self._elsewhere: list[Passes] = []  # of the datasets that were made of this
        self._placed = False  # whether a state or set_epoch says where the next `for` begins
        self._last_trainer_epoch: int | None = None
        self._sampler: weakref.ref[LoaderSteps] | None = None

    @property
    def batch_size(self) -> int:
        """Samples in a full batch of one rank."""
        return self.options.batch_size

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """All (height, width) that the images of a batch may have, in the order in which they come: several with
        views="whole", for those who compile a model for each."""
        return self._engine.sizes

    @property
    def threads(self) -> int:
        """The decoder's threads."""
        return self._engine.threads

    @property
    def prefetch(self) -> int:
        """Batches decoded ahead."""
        return self._engine.prefetch

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self._engine.device

    @property
    def dali(self) -> DaliOptions:
        """How DALI works with `backend="dali"`."""
        return self._engine.dali

    def __len__(self) -> int:
        """Batches of a whole epoch, the same on every rank."""
        return len(self._engine.schedule.steps())

    def __iter__(self) -> Pass:
        return Pass(self._begin, self.collate_fn)

    def _batches(self) -> Pass:
        return Pass(self._begin)

    def _begin(self) -> Epoch | Company:
        """Begin the epoch that comes next, or the rest of it: what the first `next` of a `for` does."""
        progress = Progress(*self._next)
        begun = self._engine.begin(progress)
        self._next = Place(progress.epoch + 1, 0)
        self._progress = progress
        self._placed = False
        return begun

    def as_iterable_dataset(self) -> LoaderDataset:
        """The same batches as a `torch.utils.data.IterableDataset`, for code that wants a DataLoader.

        `DataLoader(loader.as_iterable_dataset(), batch_size=None, num_workers=n)` gives them in the same order, and
        begins where this loader is. Its rank is the loader's: the one given, or that of the process group by then.
        """
        made = LoaderDataset(self.dataset, self.options, self._engine.schedule.placement(), self._next)
        self._elsewhere.append(made.passes)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy goes on where the consumer is, also inside an epoch."""
        return _rebuild, (
            self.dataset,
            self.options,
            Place(self._progress.epoch, self._progress.position, self._progress.shares),
            self.collate_fn,
        )

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that the next `for` begins, or goes on with after `load_state_dict`."""
        return self._next.epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next `for` that epoch. A place inside it, by `load_state_dict`, stays; leaving one is logged."""
        epoch = epoch_number(epoch)
        if epoch != self.epoch:
            if self._placed and self._next.start and self._steps_left():
                log.warning("set_epoch(%d) leaves the place that was loaded, inside epoch %d", epoch, self.epoch)
            self._go_to(Place(epoch, 0))
        self._placed = True

    # -- for trainers, see trainer_epochs.py ---------------------------------------------------------------------------

    @property
    def sampler(self) -> LoaderSteps:
        """What Lightning and accelerate look for on a DataLoader."""
        found = None if self._sampler is None else self._sampler()
        if found is None:
            found = StepsInOrder(self) if self.options.order == "none" else LoaderSteps(self)
            self._sampler = weakref.ref(found)
        return found

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """The same, where a DataLoader has it too."""
        return SimpleNamespace(sampler=self.sampler)

    prefetch_factor = None  # accelerate's skip_first_batches hands this to a DataLoader without workers

    def _trainer_epoch(self, number: int) -> None:
        """A trainer begins an epoch, by its own count. A place that was loaded stays."""
        number, last = epoch_number(number), self._last_trainer_epoch
        self._last_trainer_epoch = number
        if self._placed:
            if not self._steps_left():
                self._end_epoch()
        elif last is None or number <= last:  # a new run, or one more validation
            self._go_to(Place(number, 0))
        else:
            self._go_to(Place(self.epoch + number - last - 1, 0))

    def _steps_left(self) -> int:
        """Of the epoch that the next `for` begins or goes on with."""
        return len(self._engine.schedule.steps(self._next.start))

    def _skip(self, steps: int) -> None:
        """Let the next `for` begin that many steps later."""
        if steps:
            schedule, start = self._engine.schedule, self._next.start
            shares = schedule.shares(self._next.shares if start else 0)
            self._go_to(Place(self.epoch, schedule.steps(start).bounds(steps - 1)[1], shares))

    def _end_epoch(self) -> None:
        """Let the next `for` leave out the rest of the epoch that it would go on with."""
        if self._next.start:
            self._go_to(Place(self.epoch + 1, 0))
            self._placed = True

    def state_dict(self) -> dict[str, Any]:
        """How far the consumer is: what it has received counts, what was prefetched does not.

        A few hundred bytes of plain numbers and strings, the same on every rank after the same number of steps.
        """
        if any(passes.begun() for passes in self._elsewhere):
            raise RuntimeError(
                "the state of this loader does not count the batches that a DataLoader gave: use torchdata's "
                "StatefulDataLoader and its state_dict, or iterate the loader itself"
            )
        return self._engine.schedule.state(self._progress)

    def load_state_dict(self, state: dict[str, Any], allow: Sequence[str] = ()) -> None:
        """Go on where `state` was taken, exactly, whatever the world size and batch size are now.

        The next `for` gives the rest of that epoch. `allow=("transform",)` goes on with another transform on purpose.
        Raises ValueError when the state belongs to another dataset, selection, seed, order or transform, naming what
        differs.
        """
        self._go_to(self._engine.schedule.place(state, allow))
        self._placed = True

    def _go_to(self, place: Place) -> None:
        self._next = place
        self._progress = Progress(*place)
        self._placed = False

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def draws(self, rows: Sequence[int], epoch: int = 0, visit: int = 0) -> list[list[dict[str, Any]]]:
        """What the transform draws for samples, by their places in the loader's dataset: one JSON-able dict per step.

        `T.apply(data, steps, draws=...)` makes the loader's pixels of them. `visit` is 0; with a mix that shows samples
        several times it is the round of its group that a sample comes in. Without a transform: a crop (RandomCrop or
        CenterCrop) and a RandomHorizontalFlip. With fixed views the crop is a ViewCrop, whose `views` has `x`, `y` and
        `mirrored` of each. A list of degradations is one step, "Degradations", whose `inner` has the draws of each by
        name; a later step that draws otherwise for some of them has `degradations`, likewise. Raises IndexError for a
        place outside of the dataset, ValueError when a step cannot take an image.
        """
        places = np.asarray(rows)
        if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
            raise WrongKindError(f"rows={rows!r}: a list of whole numbers is needed")
        if places.size and not 0 <= places.min() <= places.max() < len(self.dataset):
            raise IndexError(
                f"rows={rows!r}: the dataset has {len(self.dataset)} samples, 0 to {len(self.dataset) - 1}"
            )
        chosen = self.dataset.index_rows[places.astype(np.int64)]
        return self._engine.draws(chosen, epoch_number(epoch), whole("visit", visit, 0, highest=LAST_EPOCH))

    def receipt(self, epochs: int | None = None) -> dict[str, Any]:
        """What a paper needs to say "trained on exactly these samples in this order": JSON of a few kilobytes.

        The samples, all options that decide on order and pixels, `epochs` (by default those begun so far), hashes of
        the order and of the first pixels, versions, and a `hash` of all but the versions. `genimage-stream replay`
        checks it. Raises ValueError for a transform with a function that has no importable name, and with `limits`.
        """
        return write_receipt(self.subject, max(1, self.epoch) if epochs is None else whole("epochs", epochs, 1))

    @property
    def subject(self) -> Subject:
        """What receipts are made of; may change in any version."""
        return Subject(self.dataset, self.options, self._engine, Loader)

    # -- statistics ----------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """What was loaded and where the time went, since the loader was made or `reset_stats` was called."""
        return self._engine.counter.snapshot()

    def reset_stats(self) -> None:
        """Begin the counts and times of `stats` anew."""
        self._engine.counter.reset()


def _rebuild(
    dataset: Dataset, options: LoaderOptions, place: Place, collate_fn: Callable[[Batch], Any] = as_it_is
) -> Loader:
    loader = Loader(dataset, **vars(options))
    loader.collate_fn = collate_fn
    loader._go_to(place)
    loader._placed = place.start > 0
    return loader


def _window_of(transform: Sequence[Step] | str, dataset: Dataset) -> tuple[int, int]:
    size = LoaderTransform.of(Variants.of(steps_of(transform)).after(dataset.steps), dataset.access).size
    assert isinstance(size, Size)
    return size.height, size.width


def _tuned(dataset: Dataset, options: LoaderOptions) -> DaliOptions:
    """The fastest DALI options for this work, by trials or from memory."""
    window = options.crop_size if options.transform is None else _window_of(options.transform, dataset)
    work = LoaderOptions(
        options.batch_size,
        crop=window,
        threads=options.threads,
        prefetch=options.prefetch,
        device=options.device,
        output=options.output,
        backend="dali",
        on_error="skip",
        max_errors=sys.maxsize,
    )
    device = resolve_device(options.device)
    return tuned(
        lambda dali: Loader(dataset, **vars(replace(work, dali=dali))),
        Work(
            device,
            work.batch_size,
            window,
            work.output,
            work.threads,
            work.prefetch,
            dataset.access.info.crop_ready,
        ),
    )
