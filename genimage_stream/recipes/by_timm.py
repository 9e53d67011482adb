"""Recipes of GenImage's own classifiers and of "Fake or JPEG?", whose transforms are timm's."""

from __future__ import annotations

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.recipes import randaugment
from genimage_stream.recipes.recipe import Recipe

_GENIMAGE = "GenImage-Dataset/GenImage@746781b (timm 0.6.12)"


def _erasing(p: float) -> T.Step:
    """timm's RandomErasing in mode "pixel", on normalised values."""
    return T.RandomErasing(p, (0.02, 1 / 3), (0.3, 1 / 0.3), "random", after_normalize=True)


def _resnet() -> list[T.Step]:
    return [
        T.RandomChoice([T.RandomResizedCrop(224, filter="bilinear"), T.RandomResizedCrop(224, filter="bicubic")]),
        T.RandomHorizontalFlip(),
        T.Map(randaugment.random_filter),
        _erasing(0.6),
    ]


def _transformer() -> list[T.Step]:
    return [
        T.RandomResizedCrop(224, filter="bicubic"),
        T.RandomHorizontalFlip(),
        T.Map(randaugment.bicubic),
        _erasing(0.25),
    ]


def _eval() -> list[T.Step]:
    return [T.Resize(256, "bicubic"), T.CenterCrop(224)]


_MIXED = "Mixup and CutMix act on batches and are left to the training loop."
_ERASING = "The noise of RandomErasing equals timm's in distribution."

RECIPES = (
    Recipe(
        "genimage-resnet50",
        "GenImage ResNet-50",
        _GENIMAGE,
        train=_resnet(),
        eval=_eval(),
        note=f"One of its three augmented views (--aug-splits 3). {_ERASING}",
    ),
    Recipe(
        "genimage-swin-t", "GenImage Swin-T", _GENIMAGE, train=_transformer(), eval=_eval(), note=f"{_MIXED} {_ERASING}"
    ),
    Recipe(
        "genimage-deit-s", "GenImage DeiT-S", _GENIMAGE, train=_transformer(), eval=_eval(), note=f"{_MIXED} {_ERASING}"
    ),
    Recipe(
        "grommelt",
        "Fake or JPEG? (Grommelt)",
        "gendetection/UnbiasedGenImage@74197ed",
        train=[T.OnlyIf(T.JPEG(96), label="fake"), *_resnet()],
        eval=[T.OnlyIf(T.JPEG(96), label="fake"), *_eval()],
        note=f"With the ResNet-50 recipe. Its optional first resize and crop depend on the subset's sizes. {_ERASING}",
    ),
)
