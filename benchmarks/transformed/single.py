"""Single steps beside the libraries that they equal: one image at a time, one thread, CPU time.

Both sides get the same drawn values. A library gets each image in the form that it takes (Pillow's, an array, a
tensor), so that no conversion counts; ours is what a loader's thread runs for one image, without drawing the values,
which is done for whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Contestant
from benchmarks.transformed import libraries as by
from benchmarks.transformed.libraries import Picture, Reference
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import native
from genimage_stream.transforms.chance import Chance, identity_of
from genimage_stream.transforms.step import Operation, Sample, Size, ordinals_of

SIDES = {"256x256": (256, 256), "500x375": (500, 375)}
SMALL, LARGE = SIDES
REPEAT = 4  # ours takes a fraction of the library's time


class Case(NamedTuple):
    """`name`: the step as tables have it. `size`: of the images that come in."""

    name: str
    step: T.Step
    size: str
    library: str
    reference: Reference


PILLOW, TORCHVISION, TENSORS = "Pillow, save + load", "torchvision on Pillow", "torchvision on tensors"

CASES = (
    Case("JPEG((30, 100))", T.JPEG((30, 100)), SMALL, PILLOW, by.pillow_jpeg),
    Case('JPEG((30, 100), channels="bgr")', T.JPEG((30, 100), channels="bgr"), SMALL, "OpenCV", by.cv2_jpeg),
    Case("WebP(80)", T.WebP(80), SMALL, PILLOW, by.pillow_webp),
    Case("GaussianBlur(3.0)", T.GaussianBlur(3.0), SMALL, "SciPy", by.scipy_blur),
    Case("GaussianBlur((0.0, 3.0))", T.GaussianBlur((0.0, 3.0)), SMALL, "SciPy", by.scipy_blur),
    Case('GaussianBlur(0.0, 7, like="cv2")', T.GaussianBlur(0.0, 7, like="cv2"), SMALL, "OpenCV", by.cv2_blur),
    Case(
        'GaussianBlur(2.0, 9, like="torchvision")',
        T.GaussianBlur(2.0, 9, like="torchvision"),
        SMALL,
        TORCHVISION,
        by.torchvision_blur,
    ),
    Case("Resize(256)", T.Resize(256), LARGE, TORCHVISION, by.resize),
    Case('Resize(256, "bicubic")', T.Resize(256, "bicubic"), LARGE, TORCHVISION, by.resize_bicubic),
    Case('Resize((256, 256), like="cv2")', T.Resize((256, 256), like="cv2"), LARGE, "OpenCV", by.cv2_resize),
    Case('RandomScale((0.5, 1.5), like="cv2")', T.RandomScale((0.5, 1.5), like="cv2"), SMALL, "OpenCV", by.cv2_scale),
    Case("RandomResizedCrop(224)", T.RandomResizedCrop(224), LARGE, TORCHVISION, by.resized_crop),
    Case("CenterCrop(224)", T.CenterCrop(224), SMALL, TORCHVISION, by.center_crop),
    Case("RandomCrop(224)", T.RandomCrop(224), SMALL, TORCHVISION, by.crop),
    Case('RandomCrop(384, pad="zeros")', T.RandomCrop(384, pad="zeros"), SMALL, TORCHVISION, by.padded_crop),
    Case("Tile(512)", T.Tile(512), SMALL, "NumPy", by.tile),
    Case("CenterZoom(0.9)", T.CenterZoom(0.9), SMALL, TORCHVISION, by.zoom),
    Case("RandomHorizontalFlip(1.0)", T.RandomHorizontalFlip(1.0), SMALL, TORCHVISION, by.flip),
    Case("RandomVerticalFlip(1.0)", T.RandomVerticalFlip(1.0), SMALL, TORCHVISION, by.flip_down),
    Case("RandomRotate90()", T.RandomRotate90(), SMALL, "NumPy", by.quarter),
    Case("RandomRotation(180)", T.RandomRotation(180), SMALL, TORCHVISION, by.rotate),
    Case("ColorJitter(0.5, 0.5, 0.5)", T.ColorJitter(0.5, 0.5, 0.5), SMALL, TORCHVISION, by.jitter),
    Case("ColorJitter(0.4, 0.4, 0.4, 0.1)", T.ColorJitter(0.4, 0.4, 0.4, 0.1), SMALL, TORCHVISION, by.jitter),
    Case(
        "RandomBrightnessContrast(p=1.0)",
        T.RandomBrightnessContrast(p=1.0),
        SMALL,
        "albumentations",
        by.brightness_contrast,
    ),
    Case("RandomGrayscale(1.0)", T.RandomGrayscale(1.0), SMALL, TORCHVISION, by.gray),
    Case("GaussianNoise(0.1)", T.GaussianNoise(0.1), SMALL, TENSORS, by.noise),
    Case("RandomErasing(1.0)", T.RandomErasing(1.0), SMALL, TENSORS, by.erase),
    Case("CoarseDropout(p=1.0)", T.CoarseDropout(p=1.0), SMALL, "albumentations", by.dropout),
    Case("PatchMask()", T.PatchMask(), SMALL, "NumPy", by.mask),
    Case('TexturePatches("ssp")', T.TexturePatches("ssp"), SMALL, "NumPy", by.ssp),
    Case('TexturePatches("patchcraft")', T.TexturePatches("patchcraft"), SMALL, "NumPy", by.patchcraft),
)


def photographs(count: int) -> dict[str, list[Picture]]:
    """`count` of each size."""
    from stand_ins.photographs import cut

    rng = np.random.default_rng(3)
    return {name: [by.picture(cut("train", *sides, rng)) for _ in range(count)] for name, sides in SIDES.items()}


def run(image: np.ndarray, operations: Sequence[Operation]) -> np.ndarray:
    steps = [one for one in operations if isinstance(one, native.Step)]
    if len(steps) == len(operations):
        return native.run_steps(image, steps, None)
    for one in operations:  # of Python functions
        image = native.run_steps(image, [one], None) if isinstance(one, native.Step) else one.call(image)
    return image


def ours_and_theirs(case: Case, pictures: Sequence[Picture]) -> tuple[Callable[[], list[Any]], Callable[[], list[Any]]]:
    """Both run all pictures, each with its draws."""
    work = []
    for seed, picture in enumerate(pictures):
        sample = Sample(Chance(seed, 0, 0, identity_of(bytes(8))), ordinals_of([case.step]))
        planned = case.step.plan(sample, 0, Size(*picture.pil.size))
        work.append((picture, planned.draw, planned.operations))
    return (
        lambda: [run(picture.array, operations) for picture, _, operations in work],
        lambda: [case.reference(picture, draw) for picture, draw, _ in work],
    )


def contestants(case: Case, pictures: Mapping[str, Sequence[Picture]]) -> list[Contestant]:
    group = pictures[case.size]
    ours, theirs = ours_and_theirs(case, group)
    return [
        Contestant(f"{case.name}, ours", ours, len(group), repeat=REPEAT),
        Contestant(f"{case.name}, {case.library}", theirs, len(group)),
    ]
