"""Published pipelines of AIDE and DDA, whose recipes call Python functions, written anew; see published.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from genimage_stream.transforms.step import Draw
from tests.genimage_stream.recipes.published import (
    flip,
    flip_down,
    gray,
    inner,
    jitter,
    maybe,
    noise,
    padded_crop,
    pil,
    pil_jpeg,
)
from tests.genimage_stream.transforms.references import cv2, torchvision


def aide(image: Any, draws: Iterator[Draw]) -> Any:
    """Floats of 0..255, (5, 256, 256, 3). The blur is torchvision's on 8-bit images, the JPEG Pillow's."""
    import torch

    functional = torchvision()[1]
    image = maybe(image, next(draws), torchvision_blur)
    image = maybe(image, next(draws), lambda im, d: pil_jpeg(im, d["quality"]))
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255
    at = torch.arange(32).double()
    dct = torch.cos(torch.outer(at, at + 0.5) * torch.pi / 32) * (2 / 32) ** 0.5
    dct[0] = (1 / 32) ** 0.5
    patches = torch.nn.functional.unfold(values[None], 32, stride=16)[0].T.reshape(-1, 3, 32, 32)
    sizes = (dct @ patches @ dct.T).abs().add(1).log()
    frequency = at[:, None] + at
    grades = torch.zeros(len(patches)).double()
    for band in range(6):
        inside = (frequency >= 64 / 6 * band) & (frequency <= 64 / 6 * (band + 1))
        grades += 2**band * (sizes * inside).sum((1, 2, 3)) / inside.sum()
    order = grades.argsort(stable=True)
    chosen = [patches[order[k]] for k in (0, -1, 1, -2)]
    resized = [functional.resize(one.float(), [256, 256], antialias=True) for one in [*chosen, values]]
    return (torch.stack(resized) * 255).permute(0, 2, 3, 1).numpy()


def torchvision_blur(image: Any, draw: Draw) -> Any:
    return np.array(torchvision()[1].gaussian_blur(pil(image), [draw["kernel_size"]] * 2, [draw["sigma"]] * 2))


def generator(draw: Draw) -> np.random.Generator:
    """What T.Map hands to its function."""
    return np.random.Generator(np.random.Philox(key=int(draw["key"], 16)))


def resampled(image: Any, draw: Draw) -> Any:
    choice, filters = inner(draw), (0, 2, 3, 1, 5, 4)  # Pillow's numbers
    size = [int(side * inner(choice)["factor"]) for side in pil(image).size]
    return np.array(pil(image).resize(size, filters[choice["chosen"] % 6]))


def pepper(image: Any, draw: Draw) -> Any:
    rng, (height, width) = generator(draw), image.shape[:2]
    count = int(height * width * rng.uniform(0.01, 0.1))
    image, rows = np.array(image), rng.integers(0, height, count)
    for y, x in zip(rows, rng.integers(0, width, count), strict=True):
        image[y, x] = 0
    return image


def one_of_four_blurs(image: Any, draw: Draw) -> Any:
    chosen, draw = draw["chosen"], inner(draw)
    if chosen < 2:
        return torchvision_blur(image, draw)
    image = np.ascontiguousarray(image)
    if chosen == 2:
        return cv2().medianBlur(image, 3)
    angle, line = np.deg2rad(generator(draw).uniform(0, 180)), np.zeros((5, 5))
    for step in (-2, -1, 0, 1, 2):
        line[int(2 + np.round(step * np.sin(angle))), int(2 + np.round(step * np.cos(angle)))] = 1
    return np.dstack([cv2().filter2D(image[..., c], -1, line / line.sum()) for c in range(3)])


def sharpened(image: Any, draw: Draw) -> Any:
    image = np.array(image, np.float32)
    more = generator(draw).uniform(1, 3) * (image - cv2().GaussianBlur(image, (0, 0), 3.0))
    return np.clip(image + more, 0, 255).astype(np.uint8)


#: DDA's operations on one image, in order, by names for messages.
DDA: dict[str, Callable[[Any, Draw], Any]] = {
    "size": lambda im, d: resampled(im, d) if d["applied"] else im,
    "JPEG": lambda im, d: maybe(im, d, lambda im, d: pil_jpeg(im, d["quality"])),
    "flip": flip,
    "flip down": flip_down,
    "noise": lambda im, d: maybe(im, d, noise),
    "pepper": lambda im, d: maybe(im, d, pepper),
    "blur": lambda im, d: maybe(im, d, one_of_four_blurs),
    "sharpen": lambda im, d: maybe(im, d, sharpened),
    "jitter": lambda im, d: maybe(im, d, jitter),
    "gray": gray,
    "crop": lambda im, d: padded_crop(im, d, 336, 0),
}


def dda(image: Any, draws: Iterator[Draw]) -> Any:
    for operation in DDA.values():
        image = operation(image, next(draws))
    return image
