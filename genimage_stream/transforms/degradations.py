"""Degradations of robustness tests as short texts, and the sets that papers and repositories publish.

    jpeg:65               Pillow's and OpenCV's JPEG round trip at quality 65
    webp:80               Pillow's WebP round trip at quality 80
    blur:3                scipy.ndimage.gaussian_filter, sigma 3
    blur:3:cv2:7          cv2.GaussianBlur, sigma 3, kernel 7
    blur:3:torchvision:9  torchvision's GaussianBlur on PIL images, sigma 3, kernel 9
    resize:0.5            by a factor, Pillow's bilinear, not resized back; resize:0.5:cv2 by OpenCV, without antialias
    lowres:112            the shorter side to 112 pixels, Pillow's bilinear, not resized back
    crop:0.9              the middle 0.9 of each side, resized back, Pillow's bilinear
    noise:0.05            Gaussian noise, sigma on a scale of 0 to 1

`blur:2+jpeg:50` is one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from genimage_stream.arguments import WrongKindError
from genimage_stream.transforms.colour import GaussianNoise
from genimage_stream.transforms.degrade import JPEG, GaussianBlur
from genimage_stream.transforms.geometry import RandomScale, Resize
from genimage_stream.transforms.laundering import CenterZoom, WebP
from genimage_stream.transforms.step import Step

_ABOUT_A_STEP = re.compile(r"^[A-Z]\w*\(.*\): .*")


class PublishedSet(NamedTuple):
    """The degradations of one robustness test, without the clean image, and where they are published."""

    degradations: tuple[str, ...]
    source: str


def _each(name: str, *values: float, end: str = "") -> tuple[str, ...]:
    return tuple(f"{name}:{value:g}{end}" for value in values)


#: By the name that `degradations` takes.
PUBLISHED = {
    "aeroblade": PublishedSet(
        (
            *_each("jpeg", 90, 80, 70, 60, 50),
            *_each("crop", 0.9, 0.8, 0.7, 0.6, 0.5),
            *_each("blur", 1, 2, 3, 4, 5, end=":torchvision:9"),
            *_each("noise", 0.05, 0.1, 0.15, 0.2),
        ),
        "github.com/jonasricker/aeroblade (CVPR 2024)",
    ),
    "aigcdetectbenchmark": PublishedSet(
        ("jpeg:95", "blur:1", "resize:0.5"), "github.com/Ekko-zn/AIGCDetectBenchmark, after PatchCraft"
    ),
    "genimage": PublishedSet(
        ("lowres:112", "lowres:64", "jpeg:65", "jpeg:30", "blur:3", "blur:5"),
        "GenImage (NeurIPS 2023), degraded images",
    ),
    "sidbench": PublishedSet(
        (*_each("jpeg", 95, 90, 50, 30), *_each("blur", 2, 4), "blur:2+jpeg:50"), "github.com/mever-team/sidbench"
    ),
    "ssp": PublishedSet(("blur:1", "jpeg:90"), "github.com/bcmi/SSP-AI-Generated-Image-Detection"),
    "univfd": PublishedSet(
        (*_each("jpeg", 100, 90, 80, 70, 60, 50, 40, 30), *_each("blur", 1, 2, 3, 4)),
        "github.com/WisconsinAIVision/UniversalFakeDetect (CVPR 2023)",
    ),
}


def degradations(name: str) -> list[str]:
    """The degradations of a published robustness test, without the clean image, e.g. `gs.degradations("genimage")`.

    Raises ValueError for an unknown name, listing those there are.
    """
    if not isinstance(name, str) or name.lower() not in PUBLISHED:
        raise ValueError(f"there is no set of degradations {name!r}; there are {', '.join(sorted(PUBLISHED))}")
    return list(PUBLISHED[name.lower()].degradations)


def steps_of_degradation(text: str) -> tuple[Step, ...]:
    """The steps of a degradation as in the head of this module; "none" has none.

    Raises ValueError, naming the degradation and what is wrong with it.
    """
    if not isinstance(text, str):
        raise WrongKindError(f"degradation {text!r}: a text is needed, e.g. 'jpeg:65' or 'blur:2+jpeg:50'")
    if text == "none":
        return ()
    return tuple(_step(part, text) for part in text.split("+"))


def _step(part: str, text: str) -> Step:
    name, *values = part.split(":")
    of = f"degradation {text!r}" if part == text else f"degradation {text!r}, {part!r}"
    if name not in _KINDS:
        raise ValueError(f"{of}: there is no {name!r}; there are {', '.join(sorted(_KINDS))}, e.g. 'jpeg:65'")
    make, form = _KINDS[name]
    try:
        return make(*values)
    except (ValueError, TypeError) as error:
        found = _ABOUT_A_STEP.search(str(error))  # not Python's own words on arguments of ours
        reason = found[0] if found else ""
        raise ValueError(f"{of} is not of the form {form}" + (f" ({reason})" if reason else "")) from None


def _blur(sigma: str, like: str = "scipy", kernel: str = "") -> Step:
    if like == "scipy" and not kernel:
        return GaussianBlur(float(sigma))
    if like == "cv2":
        return GaussianBlur(float(sigma), int(kernel), like="cv2")
    if like == "torchvision":
        return GaussianBlur(float(sigma), int(kernel), like="torchvision")
    raise ValueError(like)


def _resize(factor: str, like: str = "pillow") -> Step:
    if like == "pillow":
        return RandomScale(float(factor))
    if like == "cv2":
        return RandomScale(float(factor), like="cv2")
    raise ValueError(like)


_KINDS: dict[str, tuple[Callable[..., Step], str]] = {
    "jpeg": (lambda quality: JPEG(int(quality)), "jpeg:QUALITY, e.g. jpeg:65"),
    "webp": (lambda quality: WebP(int(quality)), "webp:QUALITY, e.g. webp:80"),
    "blur": (_blur, "blur:SIGMA, blur:SIGMA:cv2:KERNEL or blur:SIGMA:torchvision:KERNEL, e.g. blur:3"),
    "resize": (_resize, "resize:FACTOR or resize:FACTOR:cv2, e.g. resize:0.5"),
    "lowres": (lambda side: Resize(int(side)), "lowres:PIXELS, e.g. lowres:112"),
    "crop": (lambda scale: CenterZoom(float(scale)), "crop:SHARE, e.g. crop:0.9"),
    "noise": (lambda sigma: GaussianNoise(float(sigma)), "noise:SIGMA, e.g. noise:0.05"),
}
