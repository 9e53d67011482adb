"""The names of GenImage: generators and their aliases, splits, labels, ImageNet classes, published counts.

The list of generators is open: a name that is not listed here is a new generator.
"""

from __future__ import annotations

import base64
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SPLITS = ("train", "val")
REAL, FAKE = "real", "fake"
LABELS = (REAL, FAKE)  # the label's number is its place: real = 0, fake = 1

#: Canonical names, in the order of the number that a loader gives them after 0 = real.
GENERATORS = ("adm", "biggan", "glide", "midjourney", "sd14", "sd15", "vqdm", "wukong")

#: The generator name of reals that belong to no generator's subset: a pool shared by all.
REAL_POOL = "real"

#: The names of generators in folders, archives and file names, as `simplify` writes them.
ALIASES = {
    "adm": "adm",
    "guideddiffusion": "adm",
    "biggan": "biggan",
    "glide": "glide",
    "midjourney": "midjourney",
    "mj": "midjourney",
    "sd14": "sd14",
    "sdv14": "sd14",
    "sdv4": "sd14",
    "stablediffusionv14": "sd14",
    "stablediffusion14": "sd14",
    "sd15": "sd15",
    "sdv15": "sd15",
    "sdv5": "sd15",
    "stablediffusionv15": "sd15",
    "stablediffusion15": "sd15",
    "vqdm": "vqdm",
    "wukong": "wukong",
}


#: What labels, splits and image formats are called in folders and options, as `simplify` writes it.
LABEL_ALIASES = {
    "ai": FAKE,
    "fake": FAKE,
    "fakes": FAKE,
    "1fake": FAKE,
    "generated": FAKE,
    "synthetic": FAKE,
    "aigenerated": FAKE,
    "nature": REAL,
    "natural": REAL,
    "real": REAL,
    "reals": REAL,
    "0real": REAL,
}
SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "val",  # GenImage's validation part is what papers call its test set
    "testing": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "publiceval": "val",
}
FORMAT_ALIASES = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff"}


class Counts(NamedTuple):
    """Published numbers of images of one generator's subset."""

    train_fake: int
    train_real: int
    val_fake: int
    val_real: int

    def of(self, split: str, label: str) -> int:
        return int(getattr(self, f"{split}_{label}"))


#: From the datasheet of GenImage (NeurIPS 2023) and the listings of full copies; 2,681,167 images in all.
PUBLISHED = {
    "adm": Counts(162_000, 157_453, 6_000, 6_000),
    "biggan": Counts(162_000, 162_000, 6_000, 6_000),
    "glide": Counts(162_000, 162_000, 6_000, 6_000),
    "midjourney": Counts(162_000, 161_701, 6_000, 6_000),
    "sd14": Counts(162_000, 162_000, 6_000, 6_000),
    "sd15": Counts(166_000, 153_274, 8_000, 8_000),
    "vqdm": Counts(162_000, 162_000, 6_000, 6_000),
    "wukong": Counts(162_000, 160_739, 6_000, 6_000),
}

VAL_IMAGES = 50_000  # of ILSVRC2012, numbered from 1


def simplify(name: str) -> str:
    """The form in which names are compared: lower case, only letters and digits."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def generator_alias(name: str) -> str | None:
    """The canonical name of a listed generator, or None when the name is not one of its aliases."""
    return ALIASES.get(simplify(name))


def alias(column: str, word: str) -> str | None:
    """What a word means in a column of the index (generator, split, label, format); None for an unknown word."""
    aliases = {"generator": ALIASES, "split": SPLIT_ALIASES, "label": LABEL_ALIASES, "format": FORMAT_ALIASES}
    plain = simplify(word)
    return aliases[column].get(plain, plain if column == "format" else None)


@cache
def synsets() -> tuple[str, ...]:
    """The 1,000 ImageNet-1k synsets; the class index is the place in this sorted list."""
    text = resources.files("genimage_stream").joinpath("data/synsets.txt").read_text("ascii")
    return tuple(text.split())


@cache
def class_indices() -> dict[str, int]:
    """Synset -> class index."""
    return {synset: index for index, synset in enumerate(synsets())}


@cache
def val_classes() -> npt.NDArray[np.int16]:
    """(50000,) int16: the class index of ILSVRC2012 validation image number i + 1. Read-only."""
    import numpy as np

    text = resources.files("genimage_stream").joinpath("data/ilsvrc2012_val.txt").read_text("ascii")
    packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    bits = np.unpackbits(packed, count=10 * VAL_IMAGES).reshape(VAL_IMAGES, 10)
    classes = (bits @ (1 << np.arange(9, -1, -1))).astype(np.int16)
    classes.setflags(write=False)
    return classes
