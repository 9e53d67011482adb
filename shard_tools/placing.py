"""Generator, split and label of every folder of the sources: by its names, its table's columns, and the user's maps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from genimage_stream.remedies import printable
from genimage_stream.vocabulary import FAKE, REAL, REAL_POOL
from shard_tools.errors import ToolError
from shard_tools.layout.mapping import Mapping, components
from shard_tools.layout.place import Place, place_of
from shard_tools.sources.base import Container, ContainerListing, FolderListing

_SHOWN = 3  # folders that a sentence names


@dataclass(frozen=True)
class Origin:
    """The source that a container was found in."""

    root: str = ""  # absolute path of its folder, or address
    prefix: str = ""  # what it is called where there are several sources
    number: str = ""  # the end of the prefix that tells it from another source of the same name
    named: str = ""  # the prefix that it has or would have


class Placer:
    """Reads the folders of all containers; collects what there is to say about the maps."""

    def __init__(self, mappings: Sequence[Mapping]) -> None:
        self.mappings = mappings
        self.used: set[Mapping] = set()
        self.notes: dict[str, None] = {}
        self._overruled: Counter[tuple[Mapping, str]] = Counter()
        self._kept: Counter[Mapping] = Counter()

    def places(
        self, container: Container, listed: ContainerListing, context: Sequence[str], origin: Origin
    ) -> list[Place]:
        above = list(container.folders)
        if above and origin.number:
            above[0] = above[0].removesuffix(origin.number)
        names = [[*above, *(folder.path.split("/") if folder.path else [])] for folder in listed.folders]
        children: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in names:
            for depth in range(len(path) - 1, -1, -1):
                inside = children[tuple(path[:depth])]
                if path[depth] in inside:
                    break
                inside.add(path[depth])
        return [
            self._place(container, folder, path, children, context, origin)
            for folder, path in zip(listed.folders, names, strict=True)
        ]

    def _place(
        self,
        container: Container,
        folder: FolderListing,
        names: list[str],
        children: defaultdict[tuple[str, ...], set[str]],
        context: Sequence[str],
        origin: Origin,
    ) -> Place:
        beside = [children[tuple(names[:depth])] for depth in range(len(names))]
        place = place_of(names, context, beside)
        shown = printable(container.prefix + folder.path)
        if place.passed:
            self.notes[f"{shown}: {place.passed} is within another split and not taken for one"] = None
        if folder.said:
            said = folder.said
            place = replace(
                place,
                generator=said.generator or place.generator,
                split=said.split or place.split,
                split_at=len(names) if said.split else place.split_at,
                label=said.label or place.label,
                label_at=len(names) if said.label else place.label_at,
                loose=place.loose
                or ((said.generator is not None or said.unnamed) and (said.label or place.label) == REAL),
            )
        if not self.mappings:
            return place
        above = [part for part in container.prefix.rstrip("/:").split("/") if part]
        inside = folder.path.split("/") if folder.path else []
        path = (*above, *inside)
        within = path[len(components(origin.prefix)) if origin.prefix else 0 :]
        paths = (path, within, tuple(inside), (*components(origin.root), *within))
        covering = [(mapping.distance(paths), mapping) for mapping in self.mappings]
        # The most specific folder wins, so it comes last.
        in_order = sorted(
            ((d, m) for d, m in covering if d is not None), key=lambda found: (-found[0], found[1].literal)
        )
        by_name = place
        for distance, mapping in in_order:
            self.used.add(mapping)
            place = self._mapped(mapping, place, by_name, len(names) - 1 - distance, names, len(folder.names))
        return place

    def _mapped(
        self, mapping: Mapping, place: Place, by_name: Place, mapped_at: int, names: list[str], files: int
    ) -> Place:
        """The place as a map of the folder number `mapped_at` makes it: names further in take precedence."""
        result = mapping.apply(place)
        kept = False
        for what, said_at in (("label", by_name.label_at), ("split", by_name.split_at)):
            given, said = getattr(mapping, what), getattr(by_name, what)
            if given is None or said_at < 0 or given == said:
                continue
            if said_at > mapped_at:
                result = replace(result, **{what: said})
                kept = True
            elif said_at == mapped_at and not by_name.pool:
                self._overruled[mapping, names[said_at]] += files
        self._kept[mapping] += files if kept else 0
        return result

    def settle(self, places: list[list[Place]]) -> list[list[Place]]:
        """Reals that would be of a generator of which there are no fakes, by the name of their source, are a pool."""
        outer: defaultdict[str, set[str]] = defaultdict(set)
        for place in (place for part in places for place in part):
            if place.generator and place.outer:
                outer[place.generator].add(place.outer)
        mixed = sorted((generator, sorted(names)) for generator, names in outer.items() if len(names) > 1)
        for generator, names in mixed[:_SHOWN]:
            self.notes[
                f"the generator {generator!r} is put together from folders below {', '.join(names[:_SHOWN])}: if these "
                f"are the generators, say so by --map {names[0]}={names[0]}::, and so on"
            ] = None
        fakes = {place.generator for part in places for place in part if place.label == FAKE}
        return [
            [
                replace(place, generator=REAL_POOL, pool=True)
                if place.loose and place.generator not in fakes
                else place
                for place in part
            ]
            for part in places
        ]

    def check(self, sources: Sequence[str]) -> None:
        """Raises ToolError for maps that cover nothing, or that would overrule what a folder's own name says."""
        for mapping in self.mappings:
            if mapping not in self.used:
                raise ToolError(
                    f"--map {mapping.folder}=...: there is no folder {mapping.folder!r} in {' '.join(sources)}; "
                    "FOLDER is a path below SRC, which is itself written '.'"
                )
        for (mapping, name), files in self._overruled.items():
            raise ToolError(
                f"--map {mapping.folder or '.'}=...: it would overrule the folder name {name!r} for {files:,} files; "
                "leave that part of the map empty, or rename the folder"
            )
        for mapping, files in self._kept.items():
            if files:
                self.notes[
                    f"--map {mapping.folder or '.'}=...: {files:,} files keep the label or split that a folder name "
                    "nearer to them says"
                ] = None


class Unknown:
    """Images of which neither folder nor name tells what they are: a sentence for each of their folders."""

    def __init__(self) -> None:
        self._files: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, where: str, place: Place, label: str | None, hint: str) -> None:
        what = "label" if label is None else "generator"
        self._files[what, hint][where] += 1

    def sentences(self) -> list[str]:
        found: list[str] = []
        for (what, hint), folders in sorted(self._files.items()):
            few = len(folders) <= _SHOWN
            found += self._each(what, hint, folders) if few else [self._all(what, hint, folders)]
        return found

    def _each(self, what: str, hint: str, folders: Counter[str]) -> list[str]:
        return [
            f"{where or 'SRC'}: {_missing(what, files)}; say it by {_remedy(what, hint, where)}"
            for where, files in sorted(folders.items())
        ]

    def _all(self, what: str, hint: str, folders: Counter[str]) -> str:
        where = "/".join(_common([folder.split("/") for folder in folders]))
        first = ", ".join(sorted(folders)[:_SHOWN])
        return (
            f"{where or 'SRC'}: {_missing(what, folders.total())}, in {len(folders):,} folders ({first}, ...); "
            f"say it by {_remedy(what, hint, where)}"
        )


def _missing(what: str, files: int) -> str:
    images = "1 image is" if files == 1 else f"{files:,} images are"
    if what == "label":
        return f"{images} not taken, because nothing says whether they are real or fake"
    return f"{images} not taken, because nothing says which generator made them"


def _remedy(what: str, hint: str, where: str) -> str:
    folder = where or "."
    quoted = f"'{folder}={{}}'" if any(not (c.isalnum() or c in "_-./+@") for c in folder) else f"{folder}={{}}"
    if what == "generator":
        return f"--map {quoted.format('my_generator::')}"
    either = f"--map {quoted.format('::fake')} or --map {quoted.format('::real')}"
    return f"{either}, or, where a column says it, by {hint}" if hint else either


def _common(paths: list[list[str]]) -> list[str]:
    first, last = min(paths), max(paths)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]
