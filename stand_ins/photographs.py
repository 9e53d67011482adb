"""Photographs that ship inside PyPI packages (scikit-image, scikit-learn): nothing is fetched at run time."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

# Training and validation share no photograph, so that a detector cannot know the val images by their content.
TRAIN = (
    "skimage/data/astronaut.png",
    "skimage/data/coffee.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/motorcycle_right.png",
    "skimage/data/retina.jpg",
    "sklearn/datasets/images/china.jpg",
)
VAL = (
    "skimage/data/chelsea.png",
    "skimage/data/rocket.jpg",
    "sklearn/datasets/images/flower.jpg",
)


def package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it. Raises SystemExit with the remedy when it does not."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"demo: the package {package} is not installed; run make setup")
    return Path(spec.submodule_search_locations[0])


@cache
def photographs(split: str) -> tuple[Image.Image, ...]:
    """The photographs of `train` or `val`, RGB."""
    found = []
    for name in TRAIN if split == "train" else VAL:
        package, _, rest = name.partition("/")
        path = package_folder(package) / rest
        if not path.is_file():
            raise SystemExit(f"demo: the photograph {path} is not there; run make clean and make setup")
        with Image.open(path) as image:
            found.append(image.convert("RGB"))
    return tuple(found)


def cut(split: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A piece of some photograph of the split at some magnification, with a camera's grain, as width x height RGB."""
    image = photographs(split)[rng.integers(len(photographs(split)))]
    scale = min(image.width / width, image.height / height, rng.uniform(0.7, 2.2))
    box_width, box_height = width * scale, height * scale
    left, top = rng.random() * max(0, image.width - box_width), rng.random() * max(0, image.height - box_height)
    box = (left, top, min(left + box_width, image.width), min(top + box_height, image.height))
    piece = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box=box), np.float32)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    grain = rng.normal(0, rng.uniform(1.0, 4.0), piece.shape).astype(np.float32)
    return Image.fromarray(np.clip(piece + grain, 0, 255).astype(np.uint8))
