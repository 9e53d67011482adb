"""The files that describe a dataset to other libraries."""

from __future__ import annotations

from typing import Protocol

from shard_tools.cards.croissant import croissant
from shard_tools.cards.facts import CARD_FILE, CROISSANT_FILE, Facts
from shard_tools.cards.readme import OURS, readme

_LARGEST = 16 << 20  # bytes of a card that is ours


def describing_files(facts: Facts) -> dict[str, bytes]:
    """Name and contents of each; the same for the same dataset, wherever it is."""
    return {CARD_FILE: readme(facts).encode(), CROISSANT_FILE: croissant(facts).encode()}


class Place(Protocol):
    """Where a dataset is: a part of what shard_tools/target offers."""

    def size(self, name: str) -> int | None: ...
    def read(self, name: str) -> bytes | None: ...


def is_ours(storage: Place) -> bool:
    """Whether the dataset's card is one that this program wrote, or there is none."""
    if (storage.size(CARD_FILE) or 0) > _LARGEST:
        return False
    return OURS.encode() in (storage.read(CARD_FILE) or OURS.encode())
