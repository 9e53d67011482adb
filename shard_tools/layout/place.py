"""What the folders of a path say about the images in them: generator, split and label.

Every layout met on real disks is a different order or choice of the same few folders, so each folder name is read by
itself (words.py), and a path by these rules:

* Label: the innermost name that is one.
* Split: the outermost name that is one. One among folders of classes is a class (LSUN has "train"), and so is one
  further in, unless all that lies beside it are split words too and there are several, or the folder above it is a
  generator of GenImage, whose archives are divided so.
* Generator: of the names above the label, or else of those below it, the nearest of GenImage's; or else the nearest
  that is known elsewhere; or else the nearest that is no class, source of photographs, split or container.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from genimage_stream.vocabulary import ALIASES, FAKE, REAL, REAL_POOL, simplify
from shard_tools.layout.words import CLASSES, LISTED, NEW, SYNSET, Word, read_name

_COMMON = {"ai", "nature", "natural", "generated", "synthetic"}


@dataclass(frozen=True)
class Place:
    """What is known of the images in a folder. None: the folders do not say, the file names may."""

    generator: str | None
    split: str | None
    label: str | None
    pool: bool = False  # reals of no generator's subset, by the name of their source
    label_at: int = field(default=-1, compare=False)  # which of the folders says it; -1: none of them
    split_at: int = field(default=-1, compare=False)
    # The name of the generator is that of a pool of reals where no fakes go by it.
    loose: bool = field(default=False, compare=False)
    passed: str | None = field(default=None, compare=False)  # a split word that was taken for another name
    outer: str | None = field(default=None, compare=False)  # a name further out that could be the generator's as well


def own_generator(context: Sequence[str]) -> str | None:
    """What the folders from SRC outwards (SRC's own name last) say of fakes that nothing else tells the generator of:
    the nearest that is more than a split, a label or a container.
    """
    for name in reversed(context):
        word = read_name(name)
        if word.generator:
            return word.generator
    return None


def place_of(
    folders: Sequence[str], context: Sequence[str] = (), beside: Sequence[Collection[str]] | None = None
) -> Place:
    """Read `folders` (from SRC inwards); `context` are the folders above them, SRC's own name last.

    The context is only asked for what the folders leave open, and of generators only known names count there.
    `beside`: for each of the folders, the names of all folders in the one above it.
    """
    words = [read_name(name) for name in folders]
    outside = [read_name(name) for name in context]
    label_at = max((at for at, word in enumerate(words) if word.label), default=-1)
    label = words[label_at].label if label_at >= 0 else _outer_label(context, outside)
    split_at, passed = _split(words, folders, beside)
    split = (
        words[split_at].split
        if split_at >= 0
        else _innermost([word.split for word in outside if word.pure or word is outside[-1]])
    )
    at = _generator(words, 0, label_at if label_at >= 0 else len(words))
    below = at < 0 and label_at >= 0
    if below:
        at = _generator(words, label_at + 1, len(words))
    named = words[at] if at >= 0 else Word()
    above = _generator(outside, 0, len(outside))
    if above >= 0 and (outside[above].rank == LISTED if named.generator else outside[above].rank > NEW):
        named = outside[above] if named.rank <= NEW else named
    sources = [number for number, word in enumerate(words) if word.source]
    pool = named.generator is None and label != FAKE and any(words[number].photographs for number in sources)
    if pool:
        return Place(REAL_POOL, split, REAL, True, max(label_at, sources[-1]), split_at, passed=passed)
    loose = label == REAL and named.rank < LISTED and (below or bool(sources and sources[-1] > at))
    further = _generator(words, 0, at) if named.rank == NEW and not below else -1
    outer = words[further].generator if further >= 0 and words[further].rank == NEW else None
    return Place(named.generator, split, label, False, label_at, split_at, loose, passed, outer)


def _generator(words: Sequence[Word], begin: int, end: int) -> int:
    """Which of these words names the generator; -1: none."""
    named = [at for at in range(begin, end) if words[at].generator]
    return max(named, key=lambda at: (words[at].rank, at), default=-1)


def _split(
    words: Sequence[Word], folders: Sequence[str], beside: Sequence[Collection[str]] | None
) -> tuple[int, str | None]:
    """(which of the folders says the split, -1 for none; a split word that looks like one and was passed over)."""
    found = [
        at
        for at, word in enumerate(words)
        if word.split and not (beside and word.pure and any(simplify(other) in CLASSES for other in beside[at]))
    ]
    if not found:
        return -1, None
    chosen, passed = found[0], None
    for at in found[1:]:
        others = {read_name(name) for name in beside[at]} if beside else {words[at]}
        divided = words[at].pure and all(word.split and word.pure for word in others)
        archive = words[at - 1].rank == LISTED and words[at - 1].generator is not None
        if divided and (archive or len({word.split for word in others}) > 1):
            chosen = at
        elif divided and words[at].split != words[chosen].split:
            passed = folders[at]
    return chosen, passed


def _outer_label(context: Sequence[str], outside: Sequence[Word]) -> str | None:
    """The label that folders above SRC say. `ai` is GenImage's word, and many other folders' name: it says one only
    where SRC is that folder or nothing but splits and classes is between."""
    further = False
    for name, word in zip(reversed(context), reversed(outside), strict=True):
        if word.label:
            return None if further and simplify(name) in _COMMON else word.label
        further |= not (word.split or SYNSET.match(name) or simplify(name) in CLASSES)
    return None


def _innermost(values: Sequence[str | None]) -> str | None:
    return next((value for value in reversed(values) if value), None)


def looked_for() -> str:
    """A sentence's worth of what a recognisable layout is."""
    names = ", ".join(sorted(set(ALIASES.values())))
    return (
        "<generator>/{train,val}/{ai,nature}/, test/<generator>_imagenet/{ai,nature}/ or <generator>/{0_real,1_fake}/ "
        f"with images in them, for example of {names}; or multi-volume zips of these; or WebDataset tars; or Arrow or "
        "Parquet files"
    )
