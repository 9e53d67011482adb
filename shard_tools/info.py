"""The composition of a packed dataset, or of sources: what `info` and `scan` show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypedDict, cast

import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.dataset.info import GroupCounts
from genimage_stream.schema import QUARANTINE_FILE
from genimage_stream.vocabulary import LABELS, PUBLISHED, SPLITS
from shard_tools.finished import explained, open_finished, read_quarantine
from shard_tools.scan import UNKNOWN, Listing


class GroupInfo(GroupCounts, total=False):
    """Of the samples that share generator, split and label; what is said of their images is missing without any."""

    published: int | None
    format: dict[str, int]
    mode: dict[str, int]
    width_min: int
    width_max: int
    height_min: int
    height_max: int


class DatasetSummary(TypedDict):
    destination: str
    format_version: int
    seed: int
    options: dict[str, Any]
    plan_digest: str
    samples: int
    quarantined: int
    shards: int
    size: int
    without_class: int
    groups: list[GroupInfo]


class ScannedGroup(TypedDict):
    generator: str
    split: str
    label: str
    files: int
    size: int
    published: int | None
    missing: int | None
    rejected: int


class ScanSummary(TypedDict):
    sources: list[str]
    files: int
    size: int
    rejected: int
    system_files: int
    other_files: dict[str, int]
    groups: list[ScannedGroup]
    missing_generators: list[str]
    notes: list[str]
    problems: list[str]


class Quarantined(TypedDict):
    """A row of the quarantine list."""

    source: str
    generator: str | None
    split: str | None
    label: str | None
    reason: str


_COLUMNS = ["generator", "split", "label", "format", "mode", "size", "width", "height", "class_index"]


def published(generator: str, split: str, label: str) -> int | None:
    counts = PUBLISHED.get(generator)
    return counts.of(split, label) if counts else None


def dataset_info(destination: str) -> DatasetSummary:
    """What `info` says about a finished dataset, ready for JSON. Raises TargetError when there is none."""
    opened = open_finished(destination)
    dataset = opened.access.info.fields
    with explained():
        index = opened.table(_COLUMNS)
    by = ["generator", "split", "label"]
    facts: dict[tuple[str, ...], Any] = {}
    for column in ("format", "mode"):
        for row in index.group_by([*by, column], use_threads=False).aggregate([("size", "count")]).to_pylist():
            seen = facts.setdefault(tuple(row[name] for name in by), {"format": {}, "mode": {}})
            seen[column][row[column]] = row["size_count"]
    ranges = [("width", "min"), ("width", "max"), ("height", "min"), ("height", "max")]
    for row in index.group_by(by, use_threads=False).aggregate(ranges).to_pylist():
        facts[tuple(row[name] for name in by)] |= {f"{c}_{f}": row[f"{c}_{f}"] for c, f in ranges}
    groups: list[GroupInfo] = []
    for group in dataset["counts"]["groups"]:
        key = group["generator"], group["split"], group["label"]
        groups.append(cast(GroupInfo, {**group, "published": published(*key), **facts.get(key, {})}))
    return {
        "destination": opened.path,
        "format_version": dataset["format_version"],
        "seed": dataset["seed"],
        "options": dataset["options"],
        "plan_digest": dataset["plan_digest"],
        "samples": dataset["counts"]["samples"],
        "quarantined": dataset["counts"]["quarantined"],
        "shards": dataset["counts"]["shards"],
        "size": dataset["counts"]["size"],
        "without_class": int(pc.sum(pc.is_null(index["class_index"])).as_py() or 0),
        "groups": groups,
    }


def quarantine_info(destination: str) -> list[Quarantined]:
    """The rows of a finished dataset's quarantine list. Raises TargetError when it is missing or damaged."""
    opened = open_finished(destination)
    with explained():
        try:
            raw = opened.access.store.read(QUARANTINE_FILE)
            rows: list[Quarantined] = read_quarantine(raw).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{opened.path}/{QUARANTINE_FILE} cannot be read: {error}; pack again") from error
    return rows


def reasons(rows: Iterable[Quarantined]) -> list[tuple[str, int]]:
    """(reason, number of files) of quarantined files, the most frequent first. Reasons that differ in numbers alone
    count as one, which goes by the first of them."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        kind = re.sub(r"\d[\d,.]*", "0", row["reason"])
        counts[first.setdefault(kind, row["reason"])] += 1
    return counts.most_common()


def listing_info(listing: Listing, sources: list[str]) -> ScanSummary:
    """What `scan` says about sources, ready for JSON: what is there, what is missing, what is wrong."""
    files: Counter[tuple[str, str, str]] = Counter()
    sizes: Counter[tuple[str, str, str]] = Counter()
    for number, group in enumerate(listing.groups):
        rows = listing.group == number
        key = group.generator, group.split, group.label
        files[key] += int(rows.sum())
        sizes[key] += int(listing.size[rows].sum())
    rejected = Counter((r.generator, r.split, r.label) for r in listing.rejected)
    empty = []
    for row in (listing.size == 0).nonzero()[0].tolist():
        group = listing.groups[listing.group[row]]
        rejected[group.generator, group.split, group.label] += 1
        empty.append(listing.source(row))
    present = {generator for generator, _, _ in files}
    wanted = {(g, s, la) for g in present & set(PUBLISHED) for s in SPLITS for la in LABELS}
    groups: list[ScannedGroup] = []
    for key in sorted(set(files) | wanted):
        expected = published(*key)
        groups.append(
            {
                "generator": key[0],
                "split": key[1],
                "label": key[2],
                "files": files[key],
                "size": sizes[key],
                "published": expected,
                "missing": max(0, expected - files[key]) if expected is not None else None,
                "rejected": rejected[key],
            }
        )
    problems = [*listing.incomplete, *listing.problems]
    problems += [f"{r.source}: {r.reason}" for r in listing.rejected if not r.reason.startswith(UNKNOWN)]
    problems += [f"{source}: the file is empty" for source in empty]
    return {
        "sources": sources,
        "files": len(listing),
        "size": int(listing.size.sum()),
        "rejected": rejected.total(),
        "system_files": listing.system_files,
        "other_files": dict(sorted(listing.others.items())),
        "groups": groups,
        "missing_generators": sorted(set(PUBLISHED) - present - listing.left_out),
        "notes": listing.notes,
        "problems": problems,
    }
