"""Detectors' own transforms: steps as data, carried out by the C++ core with the pixels of the published code."""

from __future__ import annotations

from genimage_stream.transforms.apply import apply, draws_of
from genimage_stream.transforms.colour import ColorJitter, GaussianNoise, RandomBrightnessContrast, RandomGrayscale
from genimage_stream.transforms.combine import Map, OnlyIf, RandomApply, RandomChoice, RandomOrder
from genimage_stream.transforms.degrade import JPEG, GaussianBlur
from genimage_stream.transforms.geometry import (
    CenterCrop,
    RandomCrop,
    RandomResizedCrop,
    RandomScale,
    Resize,
    Tile,
)
from genimage_stream.transforms.laundering import CenterZoom, WebP
from genimage_stream.transforms.patches import CoarseDropout, PatchMask, RandomErasing, TexturePatches
from genimage_stream.transforms.step import Step, from_json, to_json
from genimage_stream.transforms.turn import (
    RandomAffine,
    RandomHorizontalFlip,
    RandomRotate90,
    RandomRotation,
    RandomVerticalFlip,
)

__all__ = [
    "JPEG",
    "CenterCrop",
    "CenterZoom",
    "CoarseDropout",
    "ColorJitter",
    "GaussianBlur",
    "GaussianNoise",
    "Map",
    "OnlyIf",
    "PatchMask",
    "RandomAffine",
    "RandomApply",
    "RandomBrightnessContrast",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomOrder",
    "RandomResizedCrop",
    "RandomRotate90",
    "RandomRotation",
    "RandomScale",
    "RandomVerticalFlip",
    "Resize",
    "Step",
    "TexturePatches",
    "Tile",
    "WebP",
    "apply",
    "draws_of",
    "from_json",
    "to_json",
]
