"""Validates paths that come from data: they stay within the dataset and name regular files.

An index is untrusted input. A shard's path in it becomes a file that is opened and, in a cache, written and removed, so
its text is checked when the index is read, and links are checked when a local path is made from it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

LARGEST_WORDS = 64 << 20  # bytes


def check_shard_paths(paths: Iterable[object], index: str) -> None:
    """Raises ValueError, naming the path and the `index`, unless each is a relative, normalised path of a tar."""
    for path in paths:
        if wrong := _misfit(path):
            raise ValueError(
                f"{index} names the shard {path!r}, {wrong}; shards are tars within the dataset. Do not use this "
                "dataset unless you know who changed its index; `shard-tools pack` makes a sound one"
            )


def _misfit(path: object) -> str | None:
    if not isinstance(path, str):
        return "which is not a path"
    if path.startswith("/") or "\\" in path or "://" in path:
        return "which is not a path relative to the dataset"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "which is not a normalised path within the dataset"
    if not path.isprintable():
        return "which has unprintable characters"
    if not path.endswith(".tar"):
        return "which is not the path of a tar"
    return None


def need_possible_size(place: str, size: int) -> None:
    """Raises OSError for a file of words, which is read whole, of more bytes than any that the packer writes: a few MB
    where there are thousands of generators and shards."""
    if size > LARGEST_WORDS and place.endswith((".json", ".md")):
        raise OSError(
            f"{place} has {size:,} bytes, and none that this program writes has more than {LARGEST_WORDS:,}: restore "
            "it from a copy, or remove the dataset and pack again"
        )


def local_file(root: str | os.PathLike[str], path: str) -> str:
    """The place of a dataset's file on a local disk; it need not be there.

    Raises OSError, naming it, when a link leads out of the dataset or it is not a regular file: opening a pipe or a
    device would wait for a writer, or worse.
    """
    place = os.path.join(root, path)
    inside, there = os.path.realpath(root), os.path.realpath(place)
    if os.path.commonpath([inside, there]) != inside:
        raise OSError(
            f"{place} leads out of the dataset, to {there}: put the file itself there (cp -rL copies a dataset with "
            "the files that its links lead to)"
        )
    try:
        kind = os.stat(there).st_mode
    except OSError:
        return place  # opening it raises the error
    if not stat.S_ISREG(kind):
        raise OSError(f"{place} is not a regular file: remove it and restore the file of the dataset")
    return place
