"""What the folders of a path say about the images in them: generator, split and label.

Every layout of GenImage met on real disks is a different order or choice of the same few folders, so each folder name
is read by itself, from the innermost outwards: the first that is a label, the first that is a split, and of the rest
the nearest that is a known generator, or else the nearest that is not a mere container. Letter case never matters.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from genimage_stream.vocabulary import (
    ALIASES,
    FAKE,
    LABEL_ALIASES,
    LABELS,
    REAL,
    REAL_POOL,
    SPLIT_ALIASES,
    SPLITS,
    generator_alias,
    simplify,
)
from shard_tools.errors import ToolError

#: Folders of plain ImageNet: a pool of reals without a label folder.
POOL_FOLDERS = {"imagenet", "imagenet1k", "ilsvrc", "ilsvrc2012", "ilsvrc2012imgtrain", "ilsvrc2012imgval", "clsloc"}
#: Folders that only contain others and name no generator.
CONTAINER_FOLDERS = {"", "genimage", "ai", "data", "dataset", "datasets", "images", "image", "img", "imgs", "raw"}

_SYNSET = re.compile(r"n\d{8}\Z")
_ARCHIVE_PREFIX = re.compile(r"imagenet(?:[_\- ]+ai(?=[_\- ]|\Z))?(?:[_\- ]+\d{4}(?=[_\- ]|\Z))?(?:[_\- ]+|\Z)")
_ARCHIVE_SUFFIX = re.compile(r"[_\- ]+imagenet\Z")
# What people append to a folder or archive name: "_extracted", "-new", " (1)", "-001"; "ADMnew" only where "ADM" is a
# listed name, for "scaffold" ends like that too.
_RENAME_WORD = re.compile(r"(?:extracted|unzipped|unpacked|untar|new|old|copy|full|zip)\Z")
_RENAME_SUFFIX = re.compile(rf"(?:[_\-. ]+{_RENAME_WORD.pattern}|[_\-. ]*\(\d+\)\Z|[_\-. ]+00\d\Z)")


@dataclass(frozen=True)
class Place:
    """What is known of the images in a folder. None: the folders do not say, the file names may."""

    generator: str | None
    split: str | None
    label: str | None
    pool: bool = False  # plain ImageNet: reals of no generator's subset


def folder_stem(name: str) -> str:
    """A folder's or archive's name without the trimmings of its distribution and of its user, lower case."""
    stem = name.lower().strip()
    while True:
        shorter = _RENAME_SUFFIX.sub("", stem)
        if shorter in (stem, ""):
            break
        stem = shorter
    word = _RENAME_WORD.sub("", stem)
    stem = word if generator_alias(word) else stem
    stem = _ARCHIVE_PREFIX.sub("", stem, count=1) if stem.startswith("imagenet") else stem
    return _ARCHIVE_SUFFIX.sub("", stem)


def generator_name(name: str) -> str:
    """The canonical name of a generator: its listed name, or the given one in the form `[a-z0-9_-]+`.

    A name that has nothing of these (of another script, say) becomes `gen-` and digits that are its own.
    """
    known = generator_alias(name)
    plain = known or re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")
    if plain or not name.strip():
        return plain
    form = unicodedata.normalize("NFC", name.strip().lower())  # disks differ in how they compose letters
    return "gen-" + hashlib.sha256(form.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def own_generator(context: Sequence[str]) -> str | None:
    """What the folders from SRC outwards (SRC's own name last) say of fakes that nothing else tells the generator of:
    the nearest that is more than a split, a label or a container.
    """
    for name in reversed(context):
        if simplify(name) in LABEL_ALIASES or simplify(name) in SPLIT_ALIASES or _is_pool(name) or _is_container(name):
            continue
        return generator_name(folder_stem(name)) or None
    return None


def _is_container(name: str) -> bool:
    plain = simplify(folder_stem(name))
    return plain in CONTAINER_FOLDERS and (plain != "" or name.isascii())  # other scripts simplify to nothing


def _is_pool(name: str) -> bool:
    return simplify(name) in POOL_FOLDERS or _SYNSET.match(name.lower()) is not None


def place_of(folders: Sequence[str], context: Sequence[str] = ()) -> Place:
    """Read `folders` (from SRC inwards); `context` are the folders above them, SRC's own name last.

    The context is only asked for what the folders leave open, and only its listed names count.
    """
    label = split = generator = unlisted = None
    pool = False
    for outside, name in [*((False, f) for f in reversed(folders)), *((True, f) for f in reversed(context))]:
        plain = simplify(name)
        if _SYNSET.match(name.lower()):
            continue
        if plain in LABEL_ALIASES and label is None:
            label = LABEL_ALIASES[plain]
            continue
        if plain in SPLIT_ALIASES:
            split = split or SPLIT_ALIASES[plain]
            continue
        if plain in POOL_FOLDERS:
            pool = pool or not outside
            continue
        stem = folder_stem(name)
        listed = generator_alias(stem)
        if listed:
            generator = generator or listed
        elif not outside and not _is_container(name) and plain not in LABEL_ALIASES:
            unlisted = unlisted or generator_name(stem)
    generator = generator or unlisted
    pool = pool and generator is None and label != FAKE
    return Place(REAL_POOL if pool else generator, split, REAL if pool else label, pool)


@dataclass(frozen=True)
class Mapping:
    """A `--map FOLDER=generator:split:label` of the user; empty parts are left to the folder names."""

    folder: str  # within SRC, or absolute; "" is SRC itself
    generator: str | None
    split: str | None
    label: str | None

    def distance(self, paths: Sequence[str]) -> int | None:
        """How far below the mapping's folder lies the folder that goes by `paths` (characters); None: not below it.

        The least is that of the mapping that says most.
        """
        folder = self.folder.casefold()
        found = []
        for path in paths:
            rest = path.casefold()
            if not folder and not rest.startswith("/"):
                found.append(len(rest))
            elif rest.startswith(folder) and rest[len(folder) : len(folder) + 1] in ("", "/", ":"):
                found.append(len(rest) - len(folder))
        return min(found, default=None)

    def apply(self, place: Place) -> Place:
        return Place(self.generator or place.generator, self.split or place.split, self.label or place.label)


def parse_mapping(text: str) -> Mapping:
    folder, equals, words = text.rpartition("=")
    parts = [part.strip() for part in words.split(":")]
    if not equals or not folder or not 1 <= len(parts) <= 3:
        raise ToolError(f"--map {text!r}: write FOLDER=generator:split:label, for example ADMnew=adm:train:fake")
    generator, split, label = (*parts, "", "", "")[:3]
    if split and simplify(split) not in SPLIT_ALIASES:
        raise ToolError(f"--map {text!r}: the split {split!r} is none of {', '.join(SPLITS)}")
    if label and simplify(label) not in LABEL_ALIASES:
        raise ToolError(f"--map {text!r}: the label {label!r} is none of {', '.join(LABELS)}")
    return Mapping(
        _normal(folder),
        generator_name(generator) or None,
        SPLIT_ALIASES[simplify(split)] if split else None,
        LABEL_ALIASES[simplify(label)] if label else None,
    )


def _normal(folder: str) -> str:
    """`./ADM/` is ADM, `.` is SRC itself; absolute paths and addresses stay so."""
    path = folder.strip() if "://" in folder else os.path.normpath(folder.strip())
    return "" if path == "." else path.rstrip("/") or "/"


def looked_for() -> str:
    """A sentence's worth of what a recognisable layout is."""
    names = ", ".join(sorted(set(ALIASES.values())))
    return (
        "<generator>/{train,val}/{ai,nature}/, test/<generator>_imagenet/{ai,nature}/ or <generator>/{0_real,1_fake}/ "
        f"with images in them, for example of {names}; or multi-volume zips of these; or Arrow or Parquet files"
    )
