"""Which files of a folder are volumes of one zip archive, and which volumes are missing.

A multi-volume zip is `name.z01 ... name.zNN` and, last, `name.zip`; some tools cut into `name.zip.001, name.zip.002,
...` (`split`: `name.zip.aa, name.zip.ab, ...`) instead. Browsers and drives add things to these names (`name-001.z01`,
`name (1).z01`, `name.z01-001`), which are taken off again to see what belongs together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_VOLUME = re.compile(
    r"(?P<stem>.+)\.(?:z(?P<part>\d{2,3})|(?P<last>zip)(?:\.(?P<slice>\d{2,4}|[a-d][a-z]|aa[a-z]))?)\Z", re.IGNORECASE
)
_UNFINISHED = re.compile(
    r"(?P<name>.+?)\.(?:aria2|crdownload|part|partial|filepart|download|opdownload|incomplete|downloading|!ut|!qb|xltd|td"
    r"|baiduyun\.p\.downloading)\Z",
    re.IGNORECASE,
)
_BEHIND = re.compile(r"(?:-\d{3}|\s?\(\d+\))\Z")  # behind the whole name or behind its stem


@dataclass
class VolumeSet:
    """The files of one archive, as names within their folder."""

    stem: str  # without suffix and without what a browser added
    parts: dict[int, list[str]] = field(default_factory=dict)  # number -> files that claim to be this volume
    last: list[str] = field(default_factory=list)  # `.zip`
    slices: dict[int, list[str]] = field(default_factory=dict)  # `.zip.001`, `.zip.aa`
    letters: int = 0  # of the ends of pieces that are counted by letters

    @property
    def first(self) -> int:
        """The number of the first volume: 1, or 0 where some program counts from there."""
        return 0 if self.letters or 0 in (self.slices or self.parts) else 1

    def slice_name(self, number: int) -> str:
        """What the piece of that number is called."""
        end = f"{number:03d}"
        if self.letters:
            end = "".join(chr(ord("a") + number // 26**place % 26) for place in reversed(range(self.letters)))
        return f"{self.stem}.zip.{end}"

    def names(self) -> list[str]:
        groups = [*self.parts.values(), self.last, *self.slices.values()]
        return [name for group in groups for name in group]


def is_archive_name(name: str) -> bool:
    """May this file be a zip or a volume of one?"""
    return _split(name) is not None


def unfinished(name: str) -> str | None:
    """The file that `name` is an unfinished download of, or the record of one; None when it is neither."""
    match = _UNFINISHED.match(name)
    return match.group("name") if match else None


def _split(name: str) -> tuple[str, re.Match[str]] | None:
    match = _VOLUME.match(name) or _VOLUME.match(_BEHIND.sub("", name))
    if match is None or unfinished(name):
        return None
    return _BEHIND.sub("", match.group("stem")) or match.group("stem"), match


def volume_sets(names: Iterable[str]) -> list[VolumeSet]:
    """Group the archive files of one folder. Zips without numbered volumes are archives of their own, each."""
    sets: dict[str, VolumeSet] = {}
    for name in sorted(names):
        found = _split(name)
        if found is None:
            continue
        stem, match = found
        volumes = sets.setdefault(stem.lower(), VolumeSet(stem))
        if match.group("part"):
            volumes.parts.setdefault(int(match.group("part")), []).append(name)
        elif match.group("slice"):
            end = match.group("slice").lower()
            volumes.letters = 0 if end.isdigit() else len(end)
            number = int(end) if end.isdigit() else sum((ord(c) - ord("a")) * 26**n for n, c in enumerate(end[::-1]))
            volumes.slices.setdefault(number, []).append(name)
        else:
            volumes.last.append(name)
    result = []
    for volumes in sets.values():
        if volumes.slices and not volumes.parts and not volumes.last:
            result.append(volumes)
        elif volumes.parts:
            result.append(VolumeSet(volumes.stem, volumes.parts, volumes.last))
        else:
            result += [VolumeSet(name.rsplit(".", 1)[0], last=[name]) for name in volumes.last]
    return result
