"""The options of a loader, checked when it is made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from genimage_stream import recipes
from genimage_stream.arguments import WrongKindError, flag, one_of, whole
from genimage_stream.backends.dali_options import DaliOptions
from genimage_stream.backends.device import resolve_device
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.decode import Limits, PixelOptions
from genimage_stream.decode.checks import thread_count, window_size
from genimage_stream.decode.image import need_limits
from genimage_stream.decode.pixels import Output, Small
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.transform import ShortForm, steps_of
from genimage_stream.loading.variants import Degrade, Variants, plain_steps
from genimage_stream.order.mixing import EpochSize, Mix, check_mix, epoch_size
from genimage_stream.order.philox import split_seed
from genimage_stream.order.plan import Shuffle
from genimage_stream.order.windows import Position
from genimage_stream.resources import cores_of_rank, local_world_size
from genimage_stream.transforms.plan import check_finishing
from genimage_stream.transforms.step import Step
from genimage_stream.transforms.views import Views

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: What `normalize` names: (mean, std).
NORMALISATIONS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
Normalize = Literal["imagenet", "clip", "half", "none"]

SHARDS_AT_ONCE = 16
KEEP_EPOCHS = 8
MOST_ERRORS = 100
LAST_EPOCH = (1 << 32) - 1  # a sample's windows count epochs in 32 bits
CPUS_BESIDE_THE_CORE = 2  # for DALI's own threads and the one that takes the batches: the GPU idles while those wait

_WHOLE_OR_NONE = {  # and the lowest
    "prefetch": 1,
    "rank": 0,
    "world_size": 1,
    "window": 1,
    "keep_epochs": 1,
    "ranks_per_node": 1,
    "max_errors": 0,
}
_FLAGS = ("tune", "channels_last", "drop_last", "flip", "strict", "verify_bytes", "copy")


@dataclass(frozen=True)
class LoaderOptions:
    """What `Loader` takes beside the dataset, and means there. `crop` becomes (height, width) where there is no
    transform; None stays where it means what depends on the machine or the process.

    Raises ValueError, naming the option, for a value that makes no sense or has no effect; RuntimeError for a device
    or page-locked memory that this machine does not have.
    """

    batch_size: int = 64
    crop: int | tuple[int, int] | None = None
    shuffle: bool | Literal["full", "shards", "nodes"] = True
    seed: int = 0
    rank: int | None = None
    world_size: int | None = None
    threads: int | None = None
    backend: Literal["cpu", "dali"] = "cpu"
    device: str | torch.device | None = None
    dali: DaliOptions | None = None
    tune: bool = False
    channels_last: bool = False
    output: Output = "uint8"
    drop_last: bool = False
    window: int | None = None
    keep_epochs: int | None = None
    ranks_per_node: int | None = None
    mix: Mix | None = None
    epoch_size: EpochSize = "all"
    crop_position: Position | None = None
    flip: bool = False
    small: Small = "tile"
    fill: Sequence[int] = (0, 0, 0)
    transform: Sequence[Step] | str | None = None
    degrade: Degrade | None = None
    views: Views | None = None
    stride: int | tuple[int, int] | None = None
    pairs: Dataset | None = None
    with_arrays: Mapping[str, str | Path] | None = None
    normalize: Normalize | tuple[Sequence[float], Sequence[float]] | None = None
    prefetch: int | None = None
    on_error: Literal["raise", "skip"] = "raise"
    max_errors: int | None = None
    strict: bool = True
    verify_bytes: bool = False
    limits: Limits | None = None
    pin_memory: bool | None = None
    copy: bool = False

    def __post_init__(self) -> None:
        checked: dict[str, object] = {
            "batch_size": whole("batch_size", self.batch_size, 1),
            "seed": whole("seed", self.seed, -(1 << 64)),
            **{name: flag(name, getattr(self, name)) for name in _FLAGS},
        }
        if self.threads is not None:
            checked["threads"] = thread_count(self.threads, " (None: one per CPU)")
        for name, lowest in _WHOLE_OR_NONE.items():
            if (value := getattr(self, name)) is not None:
                checked[name] = whole(name, value, lowest, highest=(1 << 63) - 1)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        split_seed(self.seed)
        one_of("shuffle", self.shuffle, (True, False, "full", "shards", "nodes"))
        one_of("on_error", self.on_error, ("raise", "skip"))
        self._check_geometry()
        if self.crop_position is not None:
            one_of("crop_position", self.crop_position, ("random", "center"))
        if isinstance(self.degrade, list):
            object.__setattr__(self, "degrade", tuple(self.degrade))
        if isinstance(self.stride, list):
            object.__setattr__(self, "stride", tuple(self.stride))
        self.variants()
        self._check_whole()
        if self.limits is not None:
            need_limits(self.limits)
        self.pixels()
        self._check_ranks()
        self._check_devices()
        self._check_effects()
        self._check_company()

    def _check_effects(self) -> None:
        """Raises ValueError for options that would be ignored."""
        if self.window is not None and self.order not in ("shards", "nodes"):
            raise ValueError(
                f'window={self.window} has no effect with shuffle={self.shuffle!r}: it is for "shards" and "nodes"'
            )
        for name in ("keep_epochs", "ranks_per_node"):
            if getattr(self, name) is not None and self.order != "nodes":
                given = f"{name}={getattr(self, name)} has no effect with shuffle={self.shuffle!r}"
                raise ValueError(f'{given}: it is for "nodes"')
        if self.order == "nodes" and self.pairs is not None:
            raise ValueError(
                'pairs= beside shuffle="nodes": a node keeps shards of one dataset, and pairs are in other shards; '
                'take shuffle="full" or "shards"'
            )
        if self.max_errors is not None and self.on_error != "skip":
            raise ValueError(f'max_errors={self.max_errors} has no effect with on_error="raise": it is for "skip"')
        epoch_size(self.epoch_size)
        if self.mix is not None:
            check_mix(self.mix)
        elif self.epoch_size != "all":
            raise ValueError(f"epoch_size={self.epoch_size!r} needs a mix: without one an epoch is every sample once")

    def _check_company(self) -> None:
        if self.pairs is not None:
            if not isinstance(self.pairs, Dataset):
                raise WrongKindError(f"pairs={self.pairs!r} is no dataset: gs.open_dataset(path) gives one")
            if self.backend != "cpu":
                raise ValueError(f'pairs= beside backend="{self.backend}": it takes backend="cpu", on any device')
        if self.with_arrays is None:
            return
        arrays = self.with_arrays
        if not isinstance(arrays, Mapping) or not all(isinstance(path, (str, Path)) for path in arrays.values()):
            raise WrongKindError(f'with_arrays={arrays!r}: paths by name are needed, e.g. {{"lare": "maps"}}')
        for name in arrays:
            if not isinstance(name, str) or not name.isidentifier() or hasattr(Batch, name):
                raise ValueError(f"with_arrays={arrays!r}: {name!r} cannot be the name of a batch's arrays")
        object.__setattr__(self, "with_arrays", {name: str(path) for name, path in arrays.items()})

    def _check_whole(self) -> None:
        if self.views != "whole":
            return
        if self.shuffle not in (True, False):
            raise ValueError(f'shuffle={self.shuffle!r} has no effect with views="whole", which orders images by size')
        if self.mix is not None:
            raise ValueError('mix= beside views="whole": that gives every sample once, in the order of sizes')
        if self.drop_last:
            raise ValueError('drop_last=True beside views="whole": each size ends with a batch that is not full')

    def _check_geometry(self) -> None:
        if isinstance(self.transform, str):
            self._take_recipe(self.transform)
        if self.transform is None and self.views == "whole":
            self._check_crop('views="whole"')
            return
        if self.transform is None:
            object.__setattr__(self, "crop", window_size(224 if self.crop is None else self.crop))
            return
        steps = steps_of(self.transform, empty=self.views == "whole")
        object.__setattr__(self, "transform", steps)
        check_finishing(steps, self.output)
        self._check_crop("transform=")

    def _check_crop(self, beside: str) -> None:
        fields = {"crop": None, "crop_position": None, "flip": False, "small": "tile", "fill": (0, 0, 0)}
        given = [name for name, default in fields.items() if getattr(self, name) != default]
        if given:
            raise ValueError(
                f"{' and '.join(f'{name}=' for name in given)} beside {beside}: write it as a step of the transform, "
                "e.g. T.RandomCrop(224) or T.RandomHorizontalFlip()"
            )

    def _take_recipe(self, name: str) -> None:
        """The steps of a recipe, and its normalisation unless another is given."""
        found = recipes.resolve(name)
        object.__setattr__(self, "transform", found.steps)
        if self.normalize is None and self.output != "uint8":
            object.__setattr__(self, "normalize", found.normalize)
        if self.views is None and found.views is not None:
            object.__setattr__(self, "views", found.views)
        if found.part == "train" and self.shuffle is False:
            warnings.warn(
                f"transform={name!r} is a training transform and shuffle=False; for evaluation, use "
                f'"{found.recipe.name}:eval"',
                stacklevel=7,  # the line that makes the loader
            )

    def _check_ranks(self) -> None:
        if (self.rank is None) != (self.world_size is None):
            raise ValueError("rank and world_size are given together, or both left to torch.distributed")
        if self.rank is not None and self.world_size is not None and self.rank >= self.world_size:
            raise ValueError(f"rank={self.rank} is not one of world_size={self.world_size}")

    def _check_devices(self) -> None:
        one_of("backend", self.backend, ("cpu", "dali"))
        resolve_device(self.device)
        if not isinstance(self.dali, (DaliOptions, type(None))):
            raise WrongKindError(f"dali={self.dali!r}: a DaliOptions is needed, e.g. gs.DaliOptions(threads=4)")
        if self.backend != "dali" and (self.tune or self.dali is not None):
            raise ValueError('tune and dali are options of backend="dali"')
        if self.tune and self.dali is not None:
            raise ValueError("tune=True finds the DaliOptions, and dali= gives them: omit one of the two")
        if self.pin_memory is not None:
            object.__setattr__(self, "pin_memory", flag("pin_memory", self.pin_memory))
        if self.pin_memory and not torch.cuda.is_available():
            raise RuntimeError("pin_memory=True: torch sees no CUDA device, which page-locked memory is for; omit it")

    # -- what they mean ------------------------------------------------------------------------------------------------

    def pixels(self) -> PixelOptions:
        """What becomes of the pixels. Raises ValueError for what the decoder does not take."""
        return PixelOptions(self.output, self.small, self.fill, *self._mean_and_std())

    def _mean_and_std(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        normalize = self.normalize
        if self.output == "uint8":
            if normalize is not None:
                raise ValueError(f'normalize={normalize!r} needs output="float32" or "float16", and this one is uint8')
            return None, None
        if isinstance(normalize, str) and normalize in NORMALISATIONS:
            return NORMALISATIONS[normalize]
        if normalize is None:
            return NORMALISATIONS["imagenet"]
        if not isinstance(normalize, (tuple, list)) or len(normalize) != 2:
            names = ", ".join(map(repr, NORMALISATIONS))
            raise WrongKindError(f"normalize={normalize!r}: one of {names}, or (mean, std), is needed")
        return normalize[0], normalize[1]

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the window, where there is no transform."""
        return window_size(self.crop)

    def short_form(self) -> ShortForm:
        """Crops and flips, where there is no transform."""
        return ShortForm(self.crop_size, self.position, 0.5 if self.flip else 0.0, self.small)

    @property
    def normalization(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """(mean, std) of floats; None for bytes."""
        mean, std = self._mean_and_std()
        return None if mean is None or std is None else (mean, std)

    def variants(self, first: Sequence[Step] = ()) -> Variants | None:
        """What becomes of each sample, after the steps `first` of its dataset; None where there is neither of these nor
        transform, degradation and view."""
        if not first and all(one is None for one in (self.transform, self.degrade, self.views, self.stride)):
            return None
        steps: Sequence[Step]
        if self.transform is not None:
            steps = steps_of(self.transform, empty=True)
        elif self.views == "whole":
            steps = ()
        else:
            steps = plain_steps(self.crop_size, self.position, flip=self.flip, small=self.small)
        return Variants.of(steps, self.degrade, self.views, self.stride).after(first)

    @property
    def order(self) -> Shuffle:
        """The order that `shuffle` stands for; "none" where images come by size."""
        if self.views == "whole":
            return "none"
        if isinstance(self.shuffle, str):
            return self.shuffle
        return "full" if self.shuffle else "none"

    @property
    def shards_at_once(self) -> int | None:
        """The window of shards that samples are mixed within; None for other orders."""
        return (self.window or SHARDS_AT_ONCE) if self.order in ("shards", "nodes") else None

    @property
    def keep(self) -> int | None:
        """The epochs for which nodes keep their shards; None for other orders."""
        return (self.keep_epochs or KEEP_EPOCHS) if self.order == "nodes" else None

    def ranks_of_node(self, world_size: int) -> int:
        """How many of the ranks are on a node: as given, else torchrun's, else one. Raises ValueError where that leaves
        nodes with fewer."""
        ranks = min(self.ranks_per_node or local_world_size() or 1, world_size)
        if world_size % ranks:
            raise ValueError(
                f'shuffle="nodes" needs the same number of ranks on every node, and {world_size} ranks are no multiple '
                f"of ranks_per_node={ranks}: give the ranks_per_node of this run"
            )
        return ranks

    @property
    def most_errors(self) -> int:
        """Samples that may be skipped."""
        return MOST_ERRORS if self.max_errors is None else self.max_errors

    @property
    def position(self) -> Position:
        """Where the window of a sample is: by default anywhere in a random order, else in the middle."""
        return self.crop_position or ("center" if self.order == "none" else "random")


def epoch_number(value: object) -> int:
    """The number of an epoch. Raises ValueError when it is none."""
    epoch = whole("epoch", value, -(1 << 64))
    if not 0 <= epoch <= LAST_EPOCH:
        raise ValueError(f"epoch={epoch}: epochs count from 0 to {LAST_EPOCH}")
    return epoch


def default_threads(*, dali_on_gpu: bool) -> int:
    """One per CPU of this process's share; beside DALI on a GPU CPUS_BESIDE_THE_CORE fewer."""
    return max(1, cores_of_rank() - CPUS_BESIDE_THE_CORE) if dali_on_gpu else cores_of_rank()


def default_prefetch(threads: int, batch_size: int) -> int:
    """Batches decoded ahead: enough images in work that no thread runs dry while the consumer takes a batch."""
    return max(2, -(-4 * threads // batch_size) + 1)
