"""What a file's name says: its class, and (in merged folders) its generator, split and label.

The patterns are those of GenImage; the class index is the place in the sorted list of ImageNet-1k synsets.
"""

from __future__ import annotations

import re

from genimage_stream.vocabulary import GENERATORS, REAL_POOL, VAL_IMAGES, class_indices, generator_alias, val_classes

UNKNOWN_CLASS = -1

_REAL_TRAIN = re.compile(r"(n\d{8})_")
_REAL_VAL = re.compile(r"ILSVRC2012_val_(\d{8})", re.IGNORECASE)
_PHOTOGRAPH = re.compile(r"(?:n\d{8}_\d+|ILSVRC2012_val_\d{8})(?:_n\d{8})?\.jpe?g\Z", re.IGNORECASE)
# GLIDE_1000_200_08_808_glide_00033.png: the fourth number is the class, the third class // 100.
_LONG_FAKE = re.compile(r"[A-Za-z0-9]+_\d+_\d+_(\d+)_(\d{1,3})_([A-Za-z0-9]+)_", re.IGNORECASE)
# 116_biggan_00094.png, 0_adm_153.PNG, 0_wukong_image128.png
_SHORT_FAKE = re.compile(r"(\d{1,4})_([A-Za-z0-9]+)_")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jfif")
TABLE_SUFFIXES = (".arrow", ".parquet")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")
# What lies beside images and is none; every other suffix may be an image's, whatever it says.
SIDECAR_SUFFIXES = (".txt", ".json", ".jsonl", ".csv", ".tsv", ".cls", ".caption", ".md", ".yaml", ".yml", ".xml")
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found"})
# Of Windows and of network drives: what was deleted is no part of a data set.
SYSTEM_FILES |= {
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "#recycle",
    "@recycle",
    "#snapshot",
}


def is_system_file(name: str) -> bool:
    """Files and folders that operating systems leave behind: hidden ones (`._x`, `.DS_Store`), `Thumbs.db` and kin."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def real_class(name: str) -> tuple[int, str | None]:
    """(class index or UNKNOWN_CLASS, synset or None) of a real image."""
    match = _REAL_TRAIN.match(name)
    if match:
        synset = match.group(1)
        return class_indices().get(synset, UNKNOWN_CLASS), synset
    match = _REAL_VAL.match(name)
    if match and 1 <= int(match.group(1)) <= VAL_IMAGES:
        index = int(val_classes()[int(match.group(1)) - 1])
        return index, None  # the synset follows from the class
    return UNKNOWN_CLASS, None


def fake_class(name: str, generator: str) -> int:
    """Class index of a fake; UNKNOWN_CLASS when the name does not follow GenImage's pattern for this generator."""
    match = _SHORT_FAKE.match(name)
    if match:
        number, word = match.group(1), match.group(2)
    else:
        match = _LONG_FAKE.match(name)
        if not match:
            return UNKNOWN_CLASS
        number, word = match.group(2), match.group(3)
    index = int(number)
    if index > 999 or (generator_alias(word) or word.lower()) != generator:
        return UNKNOWN_CLASS
    return index


def generator_hint(name: str) -> str | None:
    """The listed generator that a fake's name carries, or None."""
    match = _SHORT_FAKE.match(name)
    word = match.group(2) if match else None
    if word is None:
        match = _LONG_FAKE.match(name)
        word = match.group(3) if match else None
    return generator_alias(word) if word else None


def real_split(name: str) -> str | None:
    """The split that the name of an ImageNet image carries, or None."""
    if _REAL_VAL.match(name):
        return "val"
    return "train" if _REAL_TRAIN.match(name) else None


def is_photograph(name: str, generator: str | None, beside_fakes: bool) -> bool:
    """Whether a name alone tells that an image is a real one of ImageNet. Generators of classes name their images after
    these as well, so it does not among those of a generator outside of GenImage, unless its fakes lie beside it."""
    return bool(_PHOTOGRAPH.match(name)) and (beside_fakes or generator in (None, REAL_POOL, *GENERATORS))
