"""The files that describe a dataset to other libraries."""

from __future__ import annotations

from shard_tools.cards.croissant import croissant
from shard_tools.cards.facts import CARD_FILE, CROISSANT_FILE, Facts
from shard_tools.cards.readme import readme


def describing_files(facts: Facts) -> dict[str, bytes]:
    """Name and contents of each; the same for the same dataset, wherever it is."""
    return {CARD_FILE: readme(facts).encode(), CROISSANT_FILE: croissant(facts).encode()}
