"""Steps that degrade: JPEG round trips, blur, noise."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import numpy as np

from genimage_stream.decode import native
from genimage_stream.transforms import kernels, values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.many import Many, Places, Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Planned, Sample, Size

_CHROMA = {"420": 0, "422": 1, "444": 2}
LIKE_REALS = "like reals"
#: (split, quality, chroma, number of real images) of each pair that occurs.
Reals = tuple[tuple[str, int, str, int], ...]


@dataclass(frozen=True)
class JPEG(CoreStep):
    """Written as a JPEG and read again: the pixels of Pillow's `save(quality=q)` + `open`, and of OpenCV's round trip.

    `quality`: 1 to 100, or (low, high) for a whole number between them, both included. `channels="bgr"` hands the
    channels to the codec in reverse, as albumentations' ImageCompression. `chroma`: "420" is what libraries write by
    default; "422", "444". Draws `quality`; `chroma` is in the draw, too.

    `quality="like reals"`: each pair of quality and chroma is drawn as often as it occurs among the real images of the
    loader's selection that have the sample's split (the remedy of "Fake or JPEG?"). A loader fills in `reals`: entries
    (split, quality, chroma, number of images).
    """

    quality: int | tuple[int, int] | Literal["like reals"] = 65
    channels: Literal["rgb", "bgr"] = "rgb"
    chroma: Literal["420", "422", "444"] = "420"
    reals: Reals | None = field(default=None, repr=False)  # long, and the dataset's

    def __post_init__(self) -> None:
        if self.reals is not None or self.quality == LIKE_REALS:
            self._check_reals()
        elif isinstance(self.quality, (tuple, list)):
            values.pair(self, "quality", self.quality, 1, 100)
            ends = tuple(values.whole(self, "quality", end, 1, 100) for end in self.quality)
            values.put(self, quality=ends)
        elif isinstance(self.quality, str):
            raise self.wrong("quality", self.quality, f'a whole number, (low, high) or "{LIKE_REALS}" is needed')
        else:
            values.put(self, quality=values.whole(self, "quality", self.quality, 1, 100))
        values.one_of(self, "channels", self.channels, ("rgb", "bgr"))
        values.one_of(self, "chroma", self.chroma, tuple(_CHROMA))

    def _check_reals(self) -> None:
        if self.quality != LIKE_REALS:
            raise self.wrong("reals", self.reals, 'it is for quality="like reals"')
        if self.chroma != "420":
            raise self.wrong("chroma", self.chroma, 'quality="like reals" draws it along')
        for entry in self.reals or ():
            if (
                not isinstance(entry, tuple)
                or len(entry) != 4
                or entry[2] not in _CHROMA
                or not isinstance(entry[0], str)
            ):
                raise self.wrong("reals", entry, "(split, quality, chroma, number of images) is needed")
            values.whole(self, "reals", entry[1], 1, 100)
            values.whole(self, "reals", entry[3], 1, 1 << 31)

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        assert not isinstance(self.quality, str)  # plan() draws those
        quality = stream.whole(*self.quality) if isinstance(self.quality, tuple) else self.quality
        return {"quality": quality, "chroma": self.chroma}

    def _pairs(self, split: str | None) -> Pairs:
        if self.reals is None:
            raise ValueError('quality="like reals" is known to loaders, which fix it to the reals of their dataset')
        splits = {entry[0] for entry in self.reals}
        if split is None and len(splits) == 1:
            split = next(iter(splits))
        if split not in splits:
            raise ValueError(f"the qualities of reals are those of {', '.join(sorted(splits))}, not of split {split!r}")
        return _pairs_of(self.reals, split)

    def plan(self, sample: Sample, place: int, size: Size, given: Draw | None = None) -> Planned:
        if self.quality != LIKE_REALS or given is not None:
            return super().plan(sample, place, size, given)
        pairs = self._pairs(sample.split)
        drawn = pairs.at(sample.chance.stream("JPEG", sample.ordinals[place]).below(pairs.total))
        draw: Draw = {"step": "JPEG", "applied": True, "quality": drawn[0], "chroma": drawn[1]}
        return Planned(draw, list(self.operations(draw, size)), size)

    def plan_many(self, many: Many, place: int, which: Places) -> None:
        which = many.sound(which)
        if self.quality != LIKE_REALS or many.splits is None:
            super().plan_many(many, place, which)
            return
        streams = many.chances.streams("JPEG", many.ordinals[place], which)
        pairs = [self._pairs(many.split_of(i)) for i in which.tolist()]
        drawn = streams.below(np.array([one.total for one in pairs], np.int64)).tolist()
        made = [_jpeg(*one.at(number), self.channels) for one, number in zip(pairs, drawn, strict=True)]
        many.put(which, made, None)

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        quality = values.whole(self, "quality", draw["quality"], 1, 100)
        return [_jpeg(quality, draw["chroma"], self.channels)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        assert not isinstance(self.quality, str)  # plan_many() draws those
        if not isinstance(self.quality, tuple):
            return ManyDrawn([_jpeg(self.quality, self.chroma, self.channels)] * len(sizes))
        drawn = streams.whole(*self.quality).tolist()
        return ManyDrawn([_jpeg(quality, self.chroma, self.channels) for quality in drawn])


class Pairs(NamedTuple):
    """Of one split: pairs of quality and chroma, and how many reals have them or one before."""

    pairs: tuple[tuple[int, str], ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.counts[-1]

    def at(self, number: int) -> tuple[int, str]:
        """That of the real image of this number."""
        return self.pairs[bisect_right(self.counts, number)]


@cache
def _pairs_of(reals: Reals, split: str) -> Pairs:
    own = [entry for entry in reals if entry[0] == split]
    return Pairs(tuple((quality, chroma) for _, quality, chroma, _ in own), tuple(accumulate(e[3] for e in own)))


@cache
def _jpeg(quality: int, chroma: str, channels: str) -> native.Step:
    return native.jpeg_step(quality, _CHROMA[chroma], channels == "bgr")


@dataclass(frozen=True)
class GaussianBlur(CoreStep):
    """Gaussian blur as one of three libraries computes it on 8-bit images; their results differ from each other.

    `like="scipy"`: `scipy.ndimage.gaussian_filter` of each channel, whose passes truncate (CNNSpot and its
    successors); `kernel_size` must be None. "cv2": `cv2.GaussianBlur(image, (k, k), sigma)`; `kernel_size=None` derives
    k from sigma, sigma 0 derives sigma from k. "torchvision": `v2.GaussianBlur(k, sigma)` on PIL images; k is needed.
    `sigma`: a number, or (low, high). `kernel_size`: odd; (low, high) with "cv2" draws an odd number between them.
    Draws `sigma` and, but for "scipy", `kernel_size`.
    """

    sigma: float | tuple[float, float] = 3.0
    kernel_size: int | tuple[int, int] | None = None
    like: Literal["scipy", "cv2", "torchvision"] = "scipy"

    def __post_init__(self) -> None:
        values.one_of(self, "like", self.like, ("scipy", "cv2", "torchvision"))
        values.put(self, sigma=values.number_or_pair(self, "sigma", self.sigma, 0.0, 100.0))
        size = self.kernel_size
        if self.like == "scipy" and size is not None:
            raise self.wrong("kernel_size", size, 'like="scipy" derives it from sigma; leave it at None')
        if self.like == "torchvision" and (size is None or isinstance(size, (tuple, list))):
            raise self.wrong("kernel_size", size, 'like="torchvision" needs one odd number')
        if self.like == "torchvision" and values.bounds(self.sigma)[0] <= 0:
            raise self.wrong("sigma", self.sigma, 'must be above 0 with like="torchvision"')
        if size is None:
            if self.like == "cv2" and values.bounds(self.sigma)[0] <= 0:
                raise self.wrong("sigma", self.sigma, "must be above 0 where kernel_size is None")
            return
        ends = size if isinstance(size, (tuple, list)) else (size, size)
        if len(ends) != 2 or any(values.whole(self, "kernel_size", end, 1, 999) % 2 == 0 for end in ends):
            raise self.wrong("kernel_size", size, "odd numbers are needed")
        if ends[0] > ends[1]:
            raise self.wrong("kernel_size", size, "the first value must not be above the second")
        values.put(self, kernel_size=tuple(ends) if isinstance(size, (tuple, list)) else size)

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        drawn: dict[str, Any] = {"sigma": stream.uniform(*values.bounds(self.sigma))}
        if isinstance(self.kernel_size, tuple):
            low, high = self.kernel_size
            drawn["kernel_size"] = low + 2 * stream.below((high - low) // 2 + 1)
        elif self.like == "cv2":
            drawn["kernel_size"] = self.kernel_size or kernels.cv2_size(drawn["sigma"])
        elif self.kernel_size is not None:
            drawn["kernel_size"] = self.kernel_size
        return drawn

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        sigma = draw["sigma"]
        if self.like == "scipy":
            return [native.scipy_blur_step(kernels.scipy_weights(sigma))]
        side: int = draw["kernel_size"]
        if self.like == "cv2":
            weights = kernels.cv2_weights(side, sigma)
            return [native.cv2_blur_step(weights, weights)]
        if min(size) <= side // 2:
            raise ValueError(f"an image of {size.width}x{size.height} is too small for kernel_size={side}")
        return [native.torch_blur_step(kernels.torch_weights(side, sigma), side, side)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        if self.like == "scipy" and not isinstance(self.sigma, tuple):
            return ManyDrawn([native.scipy_blur_step(kernels.scipy_weights(self.sigma))] * len(sizes))
        sigmas = streams.uniform(*values.bounds(self.sigma))
        if self.like == "scipy":
            return ManyDrawn([native.scipy_blur_step(one) for one in kernels.scipy_weights_of_many(sigmas)])
        lengths: list[int] = [self.kernel_size] * len(sigmas) if isinstance(self.kernel_size, int) else []
        if isinstance(self.kernel_size, tuple):
            low, high = self.kernel_size
            lengths = (low + 2 * streams.below((high - low) // 2 + 1)).tolist()
        draws = [{"sigma": sigma} for sigma in sigmas.tolist()]
        for draw, length in zip(draws, lengths or map(kernels.cv2_size, sigmas.tolist()), strict=True):
            draw["kernel_size"] = length
        if self.like == "torchvision" and np.min(sizes, initial=1000) <= max(lengths) // 2:
            return None
        large = Size(1000, 1000)
        return ManyDrawn([self.operations(draw, large) for draw in draws])
