"""What the column `source` calls the files of several sources, so that it depends on the files and not on whether their
sources were packed at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.remedies import printable
from shard_tools.placing import Origin
from shard_tools.scan import Listing, Rejected
from shard_tools.sources.base import Container


def source_names(listing: Listing, taken: pa.ChunkedArray | None = None) -> pa.StringArray:
    """For each row of the listing its path within SRC; with SRC's name in front where an earlier source, or `taken`,
    has a file of the same path."""
    origins = listing.origins
    above = [_prefixes(*pair) for pair in zip(listing.containers, origins, strict=True)]
    folders = [
        [printable(prefix + (g.path + "/" if g.path else "")) for prefix in above[g.container]] for g in listing.groups
    ]
    names = listing.name
    if not pc.all(pc.utf8_is_printable(names)).as_py():
        names = pa.array(map(printable, names.to_pylist()), pa.string())
    plain, full = (
        pc.binary_join_element_wise(
            pa.array([both[which] for both in folders], pa.string()).take(pa.array(listing.group)), names, ""
        )
        for which in (0, 1)
    )
    number = {name: place for place, name in enumerate(dict.fromkeys(origin.named for origin in origins))}
    sources = np.array([number[origins[g.container].named] for g in listing.groups], np.int32)
    of_row = sources[listing.group] if len(listing.group) else np.empty(0, np.int32)
    present = np.unique(of_row).tolist()
    if taken is not None:  # to a set of few: millions of names are looked up faster than made one
        taken = taken.filter(pc.is_in(taken, value_set=plain)).combine_chunks()
    for source in present:
        rows = of_row == source
        if taken is not None and len(taken):
            again = rows & pc.is_in(plain, value_set=taken).to_numpy(zero_copy_only=False)
            plain = pc.if_else(pa.array(again), full, plain)
        if source != present[-1]:
            here = plain.filter(pa.array(rows))
            taken = here if taken is None else pa.concat_arrays([taken, here])
    return plain


def _prefixes(container: Container, origin: Origin) -> tuple[str, str]:
    """What precedes a container's files: within its source alone, and with the source's name."""
    prefix, named, number = container.prefix, origin.named, origin.number
    if prefix == named + ":":  # the source is an archive by itself
        stem, suffix = os.path.splitext(named)
        stem = stem.removesuffix(number) if number else stem
        return f"{stem}{suffix}:", f"{stem}{number or '~2'}{suffix}:"
    within = prefix.removeprefix(origin.prefix + "/") if origin.prefix else prefix
    return within, f"{named}/{within}"


def without_sources(listing: Listing, files: Sequence[Rejected]) -> list[Rejected]:
    """Files that messages call by source and path, with their paths within their sources."""
    origins = {origin.prefix: origin for origin in listing.origins if origin.prefix}
    return [replace(one, source=_within(origins.values(), one.source)) for one in files] if origins else list(files)


def _within(origins: Iterable[Origin], source: str) -> str:
    for origin in origins:
        prefix = printable(origin.prefix)
        if source.startswith(prefix + "/"):
            return source[len(prefix) + 1 :]
        if source.startswith(prefix + ":"):
            stem, suffix = os.path.splitext(prefix)
            return (stem.removesuffix(origin.number) if origin.number else stem) + suffix + source[len(prefix) :]
    return source
