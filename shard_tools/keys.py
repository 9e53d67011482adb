"""Sample keys: `{generator}_{split}_{label}_{stem}`, unique in the dataset and without characters that readers split
at.

The rule. The stem is the file's name up to its last dot. Every character outside `A-Z a-z 0-9 _ - + = @ ~ ,` becomes
`_` (a dot would end the key for WebDataset readers, a space would break DALI's index). A key of more than LONGEST
bytes is cut, with `~` and the first 12 hexadecimal digits of the whole key's sha256 behind it: so every member of a
tar fits the plain header, which some readers (DALI without an index, wids) go by alone. When several files would get
the same key, each gets `~` and the first 12 digits of its bytes' sha256 behind it, so that the key still does not
depend on where a file was found; files that are equal to the byte are one sample, and all but the first are listed as
duplicates. Where even that key is taken, a number follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shard_tools.errors import UnreadableImageError
from shard_tools.faults import Faults
from shard_tools.scan import Listing, Rejected

UNSAFE = r"[^A-Za-z0-9_+=@~,-]"
DIGITS = 12
LONGEST = 89  # bytes of a key
THREADS = 8
CHUNK = 4096  # files handed to the threads at a time


@dataclass
class Keys:
    """Rows of the listing that become samples, with their keys, sorted by key; and those that do not."""

    row: npt.NDArray[np.int64]
    key: pa.StringArray
    duplicates: list[Rejected]


def assign_keys(listing: Listing, read: Callable[[int], bytes]) -> Keys:
    """Give every row of the listing its key. `read(row)` returns a file's bytes; only files that collide are read."""
    prefixes = pa.array([f"{g.generator}_{g.split}_{g.label}_" for g in listing.groups], pa.string())
    stem = pc.replace_substring_regex(listing.name, r"\.[^.]*$", "")
    stem = pc.replace_substring_regex(stem, UNSAFE, "_")
    plain = _shortened(pc.binary_join_element_wise(prefixes.take(pa.array(listing.group)), stem, ""))
    order = pc.sort_indices(plain).to_numpy()
    ordered = plain.take(pa.array(order))
    again = np.zeros(len(ordered), bool)
    if len(ordered) > 1:
        again[1:] = pc.equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False)
    if not again.any():
        return Keys(order.astype(np.int64), ordered, [])
    return _resolve(listing, read, order.astype(np.int64), ordered, again)


def _shortened(keys: pa.StringArray) -> pa.StringArray:
    """Keys of which the long ones are cut."""
    long = pc.greater(pc.binary_length(keys), LONGEST)
    if not pc.any(long).as_py():
        return keys
    cut = [_with(key, hashlib.sha256(key.encode()).hexdigest()[:DIGITS]) for key in keys.filter(long).to_pylist()]
    return pc.replace_with_mask(keys, long, pa.array(cut, pa.string()))


def _with(key: str, *ends: str) -> str:
    """A key with more behind it, cut where it would become too long."""
    end = "".join(f"~{end}" for end in ends)
    return key[: LONGEST - len(end)] + end


def _resolve(
    listing: Listing,
    read: Callable[[int], bytes],
    order: npt.NDArray[np.int64],
    ordered: pa.StringArray,
    again: npt.NDArray[np.bool_],
) -> Keys:
    collides = again.copy()
    collides[:-1] |= again[1:]
    keys = dict.fromkeys(pc.filter(ordered, pa.array(~collides)).to_pylist())
    taken: dict[str, int] = {}
    duplicates: list[Rejected] = []
    clashes: dict[str, list[int]] = {}
    for at in np.flatnonzero(collides):
        clashes.setdefault(ordered[int(at)].as_py(), []).append(int(order[at]))
    digests = _digests(listing, [row for rows in clashes.values() for row in rows], read)
    for key, rows in clashes.items():
        found: dict[str, int] = {}
        for row in sorted(rows, key=listing.source):
            group = listing.groups[listing.group[row]]
            facts = (listing.source(row), group.generator, group.split, group.label)
            digest = digests[row]
            if isinstance(digest, UnreadableImageError):
                duplicates.append(Rejected(*facts, str(digest)))
            elif digest in found:
                duplicates.append(Rejected(*facts, f"duplicate: the same bytes as {listing.source(found[digest])}"))
            else:
                found[digest] = row
        for digest, row in sorted(found.items()):
            name = key if len(found) == 1 else _with(key, digest[:DIGITS])
            number = 1
            while name in keys or name in taken:
                number += 1
                name = _with(key, digest[:DIGITS], str(number))
            taken[name] = row
    rest = order[~collides]
    kept = np.concatenate([rest, np.fromiter(taken.values(), np.int64, len(taken))])
    key_column = pa.concat_arrays([pc.filter(ordered, pa.array(~collides)), pa.array(list(taken), pa.string())])
    sorted_again = pc.sort_indices(key_column)
    return Keys(kept[sorted_again.to_numpy()], key_column.take(sorted_again), duplicates)


def _digests(listing: Listing, rows: list[int], read: Callable[[int], bytes]) -> dict[int, str | UnreadableImageError]:
    """sha256 of each file, by several threads: an archive beside its extracted folder makes every file a duplicate.

    Tables whose rows cannot be had one by one are read from end to end instead.
    """
    found: dict[int, str | UnreadableImageError] = {}
    places: dict[int, dict[int, int]] = {}  # sequential container -> place in it -> row of the listing
    for row in rows:
        container = listing.groups[listing.group[row]].container
        if listing.containers[container].sequential:
            places.setdefault(container, {})[int(listing.offset[row])] = row
    for container, row_at in places.items():
        sequential = listing.containers[container].sequential
        assert sequential is not None
        found.update((row_at[place], digest) for place, digest in sequential.digests(set(row_at)))
    rows = [row for row in rows if row not in found]
    faults = Faults(len(rows))

    def digest(row: int) -> str | UnreadableImageError:
        try:
            return hashlib.sha256(read(row)).hexdigest()
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        for begin in range(0, len(rows), CHUNK):
            part = rows[begin : begin + CHUNK]
            for number, (row, answer) in enumerate(zip(part, pool.map(digest, part), strict=True), begin):
                found[row] = answer
                if isinstance(answer, UnreadableImageError):
                    faults.add(number, answer)
    return found
