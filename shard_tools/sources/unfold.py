"""Containers that can only be read from the first file to the last become files that can be read in any order."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator

from shard_tools.errors import TargetError
from shard_tools.sources.base import Container


def unfold_all(containers: list[Container], folder: str, plan_digest: str, needed: Collection[int]) -> None:
    """Write the files of every `needed` container that is sequential into one file in `folder`, to be read from there.

    A file that is there already is taken only if it was made for this plan from this very file: its name says so.
    Raises TargetError where the disk has no room for them: a small file may unfold to any size.
    """
    os.makedirs(folder, exist_ok=True)
    sequential = [(number, one) for number in sorted(needed) if (one := containers[number].sequential)]
    names = [f"{number:05d}-{one.identity(plan_digest)}.arrow" for number, one in sequential]
    for name in os.listdir(folder):
        place = os.path.join(folder, name)
        if name not in names or os.path.islink(place):  # a link is not one that this program wrote
            os.remove(place)
    there = set(os.listdir(folder))
    need_room(
        folder, sum(one.unfolded_bytes for (_, one), name in zip(sequential, names, strict=True) if name not in there)
    )
    for (number, one), name in zip(sequential, names, strict=True):
        containers[number] = one.unfold(os.path.join(folder, name))


def need_room(folder: str, size_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise TargetError(
            f"{folder}: the compressed tars and tables of the source unfold to {size_bytes / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free: free some, or choose a destination on a larger disk"
        )


@contextlib.contextmanager
def written_whole(target: str) -> Iterator[str]:
    """Where to write what becomes the file `target` at the end of the block; nothing is left of it after an error."""
    part = f"{target}.{os.urandom(4).hex()}.part"  # another process may do the same
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())  # after a power failure a torn one would be taken for a whole one
        os.rename(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
