"""Everything that the page shows."""

from __future__ import annotations

from dataclasses import dataclass

from shard_tools.report.shortcuts import Shortcut
from shard_tools.report.spectra import Spectra
from shard_tools.report.statistics import Part, Samples
from shard_tools.report.thumbnails import Thumbnail
from shard_tools.report.unbiased import Unbiasing

Quarantine = list[dict[str, str | None]]


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    name: str
    samples: Samples
    parts: list[Part]
    quarantine: Quarantine
    shortcuts: list[Shortcut]
    by_generator: dict[str, list[Shortcut]]
    borrowed_reals: list[str]  # generators compared with the pool of reals
    unbiased: list[Unbiasing]
    thumbnails: list[Thumbnail]
    spectra: list[Spectra]
    version: str
