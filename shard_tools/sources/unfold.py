"""Containers that can only be read from the first file to the last become files that can be read in any order."""

from __future__ import annotations

import os
from collections.abc import Collection

from shard_tools.sources.base import Container


def unfold_all(containers: list[Container], folder: str, plan_digest: str, needed: Collection[int]) -> None:
    """Write the files of every `needed` container that is sequential into one file in `folder`, to be read from there.

    A file that is there already is taken only if it was made for this plan from this very file: its name says so.
    """
    os.makedirs(folder, exist_ok=True)
    sequential = [(number, one) for number in sorted(needed) if (one := containers[number].sequential)]
    names = [f"{number:05d}-{one.identity(plan_digest)}.arrow" for number, one in sequential]
    for name in os.listdir(folder):
        place = os.path.join(folder, name)
        if name not in names or os.path.islink(place):  # a link is not one that this program wrote
            os.remove(place)
    for (number, one), name in zip(sequential, names, strict=True):
        containers[number] = one.unfold(os.path.join(folder, name))
