"""What the user says of a folder: `--map FOLDER=generator:split:label`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from genimage_stream.vocabulary import LABEL_ALIASES, LABELS, REAL, SPLIT_ALIASES, SPLITS, generator_alias, simplify
from shard_tools.errors import ToolError
from shard_tools.layout.place import Place
from shard_tools.layout.words import generator_name

EXAMPLE = "--map my_images=flux:train:fake"
_CONTAINER_END = re.compile(r"(\.(?:zip|parquet|arrow|tar|tar\.gz|tgz)):", re.IGNORECASE)


@dataclass(frozen=True)
class Mapping:
    """A `--map FOLDER=generator:split:label` of the user; empty parts are left to the folder names."""

    folder: str  # within SRC, or absolute; "" is SRC itself; `*` and `?` stand for parts of one folder's name
    generator: str | None
    split: str | None
    label: str | None

    @cached_property
    def _parts(self) -> list[re.Pattern[str]]:
        parts = components(self.folder) if self.folder else []
        wild = (re.escape(part.casefold()).replace(r"\*", ".*").replace(r"\?", ".") for part in parts)
        return [re.compile(part + r"\Z", re.DOTALL) for part in wild]

    @property
    def literal(self) -> bool:
        return not any(letter in self.folder for letter in "*?")

    def distance(self, paths: Sequence[Sequence[str]]) -> int | None:
        """How many folders below the mapping's folder lies the one that goes by `paths` (names of folders, outermost
        first); None: not below it. The least is that of the mapping that says most.
        """
        parts = self._parts
        found = [
            len(path) - len(parts)
            for path in paths
            if len(path) >= len(parts)
            and (parts or path[:1] != ("",))
            and all(part.match(name.casefold()) for part, name in zip(parts, path, strict=False))
        ]
        # SRC itself is above an archive, whose inside is one of the paths.
        return min(found, default=None) if parts else max(found, default=None)

    def apply(self, place: Place) -> Place:
        """The place as this says it is. Of pools by name alone, a generator that is given makes a generator's."""
        given = self.generator is not None
        return replace(
            place,
            generator=self.generator or place.generator,
            split=self.split or place.split,
            label=self.label or place.label,
            pool=place.pool and not given,
            outer=None if given else place.outer,
            loose=not given and (place.loose or (self.label == REAL and not generator_alias(place.generator or ""))),
        )


def components(path: str) -> list[str]:
    """The names of a path; an archive or a table is a folder of what is in it."""
    return _CONTAINER_END.sub(r"\1/", path).split("/")


def parse_mapping(text: str) -> Mapping:
    folder, equals, words = text.rpartition("=")
    parts = [part.strip() for part in words.split(":")]
    if not equals or not folder or not 1 <= len(parts) <= 3:
        raise ToolError(f"--map {text!r}: write FOLDER=generator:split:label, for example {EXAMPLE.split()[1]}")
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
