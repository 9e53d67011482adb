"""From SRC to the list of all its images: what each is by its folder and name, and how to get its bytes.

Nothing is read here but names, sizes and the directories of archives.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.remedies import is_utf8, printable
from genimage_stream.schema import DATASET_FILE, INDEX_FILE
from genimage_stream.vocabulary import FAKE, PUBLISHED, REAL, REAL_POOL
from shard_tools import names as file_names
from shard_tools.addresses import is_object_url
from shard_tools.errors import ToolError
from shard_tools.layout.columns import NO_COLUMNS, Columns, typed
from shard_tools.layout.mapping import Mapping
from shard_tools.layout.place import Place, looked_for, own_generator
from shard_tools.placing import Origin, Placer, Unknown
from shard_tools.sources.base import Container, ContainerListing, FolderListing
from shard_tools.sources.discover import discover
from shard_tools.sources.volumes import is_archive_name

UNKNOWN = "not recognised"  # how the reasons begin for which `Listing.problems` has a sentence per folder
MASKS = re.compile(
    r"(?:^|/)(?:masks?|[^/]*[_-]masks)(?:/|$)"
)  # of segmentation, beside the images of some datasets: no images
_OTHER_ARCHIVES = (".7z", ".rar", ".zst", ".lz4", ".gz", ".bz2", ".xz")
UNKNOWN_SHOWN = 3  # of those sentences, in an error


@dataclass(frozen=True)
class Group:
    """Files of one folder that share all that the folder says."""

    container: int
    path: str  # of the folder within the container
    generator: str
    split: str
    label: str


@dataclass
class Listing:
    """All files that are to become samples, as columns of length n, in no particular order."""

    containers: list[Container]
    groups: list[Group]
    group: npt.NDArray[np.int32]
    name: pa.StringArray
    size: npt.NDArray[np.int64]
    class_index: npt.NDArray[np.int16]  # -1: unknown
    synset: pa.StringArray  # only where the class does not say it
    offset: npt.NDArray[np.int64]
    stored: npt.NDArray[np.int64]
    method: npt.NDArray[np.int16]
    crc: npt.NDArray[np.uint32]
    kept: dict[str, pa.Array] = field(default_factory=dict)  # the columns of --keep
    rejected: list[Rejected] = field(default_factory=list)
    system_files: int = 0
    others: Counter[str] = field(
        default_factory=Counter
    )  # files that are no images, outside of image folders; by suffix
    problems: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)  # missing volumes and other missing parts of sources
    notes: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)  # generators of files that --generators and --splits leave out
    origins: list[Origin] = field(default_factory=list)  # of each container
    # Folders and files on disk -> [when they changed in ns, for files also bytes]; packing/planner.py compares them.
    changed: dict[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def source(self, row: int) -> str:
        group = self.groups[self.group[row]]
        return source_path(self.containers[group.container], group.path, self.name[row].as_py())


@dataclass(frozen=True)
class Rejected:
    """A file that is known not to become a sample before its bytes have been read."""

    source: str
    generator: str | None
    split: str | None
    label: str | None
    reason: str


def source_path(container: Container, folder: str, name: str) -> str:
    inside = f"{folder}/{name}" if folder and name else folder or name
    return printable(container.prefix + inside if inside else container.name)


@dataclass
class _Columns:
    group: list[npt.NDArray[np.int32]] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    class_index: list[int] = field(default_factory=list)
    synset: list[str | None] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    method: list[int] = field(default_factory=list)
    crc: list[int] = field(default_factory=list)
    kept: dict[str, list[Any]] = field(default_factory=dict)


def is_packed(source: str) -> bool:
    """Whether a folder is a dataset that `shard-tools pack` wrote."""
    return all(os.path.isfile(os.path.join(source, name)) for name in (DATASET_FILE, INDEX_FILE))


def scan(
    sources: Sequence[str],
    *,
    mappings: Sequence[Mapping] = (),
    generators: Iterable[str] | None = None,
    splits: Iterable[str] | None = None,
    columns: Columns = NO_COLUMNS,
    found: Callable[[int], None] = lambda files: None,
) -> Listing:
    """List what is in `sources`. Raises ToolError when a source is missing, empty or of no known layout.

    `found` is told how many more files there are, now and then, by any thread.
    """
    containers: list[Container] = []
    scanner = Scanner(set(generators) if generators else None, set(splits) if splits else None, columns.keep)
    prefixes: set[str] = set()
    found_in: list[tuple[Container, ContainerListing, list[str], Origin]] = []
    for source in sources:
        if is_packed(source):
            shown = f"`shard-tools info {shlex.quote(source)}` shows what is in it"
            raise ToolError(f"{source} is a packed dataset: {shown}")
        named, number = _prefix(source, prefixes)
        prefix, number = (named, number) if len(sources) > 1 else ("", "")
        here = discover(source, prefix, found, columns)
        origin = Origin(_root(source), prefix, number, named)
        found_in += [(container, listed, _above(source), origin) for container, listed in here]
        if not any(folder.names for _, listed in here for folder in listed.folders) and not any(
            listed.incomplete for _, listed in here
        ):
            problems = [problem for _, listed in here for problem in listed.problems]
            seen = f" but what cannot be read ({problems[0]})" if problems else ""
            raise ToolError(f"{source}: there are no files in it{seen}; looked for {looked_for()}")
    placer = Placer(mappings)
    places = placer.settle([placer.places(*one) for one in found_in])
    placer.check(sources)
    scanner.notes |= placer.notes
    for (container, listed, context, _), of_folders in zip(found_in, places, strict=True):
        scanner.add(len(containers), container, listed, context, of_folders)
        containers.append(container)
    listing = scanner.finish(containers)
    listing.origins = [origin for _, _, _, origin in found_in]
    for _, listed, _, _ in found_in:
        listing.changed |= listed.changed
    _check_generators(scanner, listing)
    _check_labels(listing)
    if not len(listing) and listing.incomplete:
        raise ToolError("; ".join(listing.incomplete))
    for name, values in listing.kept.items():
        if not pc.count(values).as_py() and len(listing):
            raise ToolError(f"--keep {name}: no image has such a column or sidecar; leave it out, or look at its name")
    if scanner.undecided:
        raise ToolError("; ".join(f"{where}: {question}" for question, where in scanner.undecided.items()))
    unknown = scanner.unknown.sentences()
    unread = [
        f"{scanner.others[suffix]:,} {suffix} are not read, only zips and tars are: unpack them if images are in them"
        for suffix in _OTHER_ARCHIVES
        if scanner.others[suffix]
    ]
    if not len(listing) and not scanner.filtered and not any(r.label for r in listing.rejected):
        if unknown:
            raise ToolError(f"{' '.join(sources)}: no recognisable layout. {'; '.join(unknown[:UNKNOWN_SHOWN])}")
        raise ToolError(
            "; ".join([f"{' '.join(sources)}: no recognisable layout", *unread, f"looked for {looked_for()}"])
        )
    listing.problems += [*unknown, *unread]
    return listing


def _check_generators(scanner: Scanner, listing: Listing) -> None:
    """An unknown name is probably a typo, unless it is a generator of GenImage that is missing here."""
    found = {group.generator for group in listing.groups} | {r.generator for r in listing.rejected if r.generator}
    for name in sorted((scanner.generators or set()) - found):
        if name in PUBLISHED:
            listing.notes.append(f"--generators {name}: there is none of it here")
        elif name not in listing.left_out:  # otherwise it is --splits that leaves it out
            known = ", ".join(sorted(found | listing.left_out)) or "none"
            raise ToolError(f"--generators {name}: there is no such generator here; there are: {known}")


def _check_labels(listing: Listing) -> None:
    """Splits of which each has one label alone tell real from fake by themselves."""
    labels: dict[str, set[str]] = {}
    for group in listing.groups:
        labels.setdefault(group.split, set()).add(group.label)
    if len(labels) > 1 and all(len(found) == 1 for found in labels.values()):
        parts = ", ".join(f"{split} has only {label}s" for split, (label,) in sorted(labels.items()))
        listing.problems.append(
            f"{parts}: say what belongs to which split by --map FOLDER=generator:split:label, e.g. --map real=:val:"
        )


class Scanner:
    def __init__(self, generators: set[str] | None, splits: set[str] | None, keep: Sequence[str] = ()) -> None:
        self.generators, self.splits = generators, splits
        self.filtered = 0
        self.unknown = Unknown()
        self.nested: Counter[str] = Counter()  # tars within archives
        self.undecided: dict[str, str] = {}  # questions without whose answer a label would be guessed -> a file
        self.left_out: set[str] = set()  # generators of files that were filtered
        self.groups: list[Group] = []
        self.columns = _Columns(kept={name: [] for name in keep})
        self.group_of: dict[Group, int] = {}
        self.rejected: list[Rejected] = []
        self.system_files = 0
        self.others: Counter[str] = Counter()
        self.problems: list[str] = []
        self.incomplete: list[str] = []
        self.notes: dict[str, None] = {}

    def add(
        self,
        number: int,
        container: Container,
        listed: ContainerListing,
        context: list[str],
        places: list[Place],
    ) -> None:
        self.incomplete += listed.incomplete
        self.system_files += listed.system_files
        self.others += listed.others
        self.problems += listed.problems
        self.notes |= dict.fromkeys(listed.notes)
        self.rejected += [
            Rejected(source_path(container, path, ""), None, None, None, reason)
            for path, reason in listed.unlisted.items()
        ]
        unnamed = {
            _base(folder.path)
            for folder, place in zip(listed.folders, places, strict=True)
            if place.generator is None and place.label == FAKE and not all(map(file_names.generator_hint, folder.names))
        }
        for folder, place in zip(listed.folders, places, strict=True):
            own = own_generator(context) if _base(folder.path) in unnamed else None
            if MASKS.search("/".join((*container.folders, folder.path)).lower()):
                where = source_path(container, folder.path, "")
                self.notes[f"{where}: {len(folder.names):,} files in a folder of masks are not taken"] = None
                continue
            self._folder(number, container, folder, place, own)

    def _folder(
        self, number: int, container: Container, folder: FolderListing, place: Place, own_generator: str | None
    ) -> None:
        """Take in one folder whose generator, split or label may have to come from each file's name."""
        synset_column = self.columns.synset
        groups = np.empty(len(folder.names), np.int32)
        kept: list[int] = []
        classes: list[int] = []
        group_of: dict[tuple[str, str, str], int] = {}  # of this folder
        beside_fakes: bool | None = None
        for at, name in enumerate(folder.names):
            # Nearly all names end in "g", and this is asked of millions.
            if name[-1:] not in "gG" and name.lower().endswith(file_names.SIDECAR_SUFFIXES) and not folder.of_images:
                self.others[os.path.splitext(name)[1].lower()] += 1
                continue
            generator, split, label = place.generator, place.split, place.label
            if label is None:
                if beside_fakes is None:
                    beside_fakes = any(map(file_names.generator_hint, folder.names))
                if file_names.generator_hint(name):
                    label = FAKE
                elif file_names.is_photograph(name, generator, beside_fakes):
                    label = REAL
            if generator is None and label is not None:
                generator = file_names.generator_hint(name) if label == FAKE else None
                generator = generator or own_generator or (REAL_POOL if label == REAL else None)
            if split is None and label is not None:
                # Only plain ImageNet is divided by its names: reals beside fakes of no split belong where these go.
                split = (file_names.real_split(name) if place.generator == REAL_POOL else None) or "val"
                where = source_path(container, folder.path, "") or "SRC"
                self.notes[f"{where}: no train or val in the path; taken as {split}"] = None
            reason = folder.unreadable.get(name)
            if label is None or generator is None:
                if name.lower().endswith((*file_names.TAR_SUFFIXES, ".zip")):
                    self.nested[container.name] += 1
                    continue
                if not folder.of_images and not name.lower().endswith(file_names.IMAGE_SUFFIXES):
                    self.others[os.path.splitext(name)[1].lower()] += 1
                    continue
                missing = "label (ai, nature, ...)" if label is None else "generator"
                if label is None and folder.undecided:
                    self.undecided.setdefault(folder.undecided, source_path(container, "", "").rstrip(":"))
                self.unknown.add(source_path(container, folder.path, ""), place, label, folder.hint)
                reason = f"{UNKNOWN}: neither folder nor name tells its {missing}; describe the folder by --map"
            elif (self.generators and generator not in self.generators) or (self.splits and split not in self.splits):
                self.filtered += 1
                self.left_out.add(generator)
                continue
            elif not name.isascii() and not is_utf8(name):
                reason = "the file's name is not UTF-8: rename it"
            if reason:
                source = source_path(container, folder.path, name)
                self.rejected.append(Rejected(source, generator, split, label, reason))
                continue
            assert generator is not None
            assert split is not None
            assert label is not None
            named = generator, split, label
            if (group := group_of.get(named)) is None:
                group = self.group_of.setdefault(Group(number, folder.path, *named), len(self.group_of))
                group_of[named] = group
            groups[len(kept)] = group
            kept.append(at)
            if label == REAL:
                index, synset = file_names.real_class(name)
                synset_column.append(synset)
            else:
                index = file_names.fake_class(name, generator)
                synset_column.append(None)
            classes.append(index)
        columns = self.columns
        columns.group.append(groups[: len(kept)].copy())
        columns.class_index += classes
        columns.name += [folder.names[at] for at in kept]
        columns.size += [folder.sizes[at] for at in kept]
        columns.offset += _picked(folder.offsets, kept)
        columns.stored += _picked(folder.stored, kept)
        columns.method += _picked(folder.methods, kept)
        columns.crc += _picked(folder.crcs, kept)
        for wanted, values in columns.kept.items():
            there = folder.kept.get(wanted)
            values.extend([there[at] for at in kept] if there else [None] * len(kept))

    def finish(self, containers: list[Container]) -> Listing:
        self.incomplete += [
            f"{name}: the {count:,} archives in it are not read, only those that are files: unpack it, give the folder"
            for name, count in sorted(self.nested.items())
        ]
        columns = self.columns
        return Listing(
            containers=containers,
            groups=list(self.group_of),
            group=np.concatenate(columns.group) if columns.group else np.empty(0, np.int32),
            name=pa.array(columns.name, pa.string()),
            size=np.array(columns.size, np.int64),
            class_index=np.array(columns.class_index, np.int16),
            synset=pa.array(columns.synset, pa.string()),
            offset=np.array(columns.offset, np.int64),
            stored=np.array(columns.stored, np.int64),
            method=np.array(columns.method, np.int16),
            crc=np.array(columns.crc, np.uint32),
            kept={name: typed(values) for name, values in columns.kept.items()},
            rejected=self.rejected,
            system_files=self.system_files,
            others=self.others,
            problems=self.problems,
            incomplete=self.incomplete,
            notes=list(self.notes),
            left_out=self.left_out,
        )


def _above(source: str) -> list[str]:
    """The names of a source and the two folders above it, outermost first."""
    path = source.partition("://")[2] if is_object_url(source) else os.path.abspath(source)
    return path.rstrip("/").split("/")[-3:]


def _root(source: str) -> str:
    """The folder that paths within a source begin at."""
    if is_object_url(source):
        return source.rstrip("/")
    path = os.path.abspath(source)
    return path if os.path.isdir(path) else os.path.dirname(path)


def _prefix(source: str, taken: set[str]) -> tuple[str, str]:
    """(name of one source of several, its end that is only a number): two of the same name are told apart."""
    name = printable(os.path.basename(os.path.normpath(source)))
    stem, suffix = os.path.splitext(name) if is_archive_name(name) else (name, "")
    prefix, end = name, ""
    while prefix in taken:
        end = f"~{int(end[1:] or 1) + 1}"
        prefix = stem + end + suffix
    taken.add(prefix)
    return prefix, end


def _picked(values: list[int], kept: list[int]) -> list[int]:
    return [values[at] for at in kept] if values else [0] * len(kept)


def _base(path: str) -> str:
    """The folder above the label folder: what is below it belongs to one subset."""
    return path.rpartition("/")[0]
