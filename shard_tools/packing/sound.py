"""Whether a stored plan is one that the packer writes: others may write to the destination, and files get damaged.

Types and ranges are looked at, not whether the plan is right: whoever can change it can change the shards too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.schema import shard_path
from genimage_stream.vocabulary import LABELS, SPLITS
from shard_tools.keys import LONGEST, UNSAFE
from shard_tools.plan import GroupPlan, Shard
from shard_tools.scan import Group, Rejected
from shard_tools.sources.base import Container

_LARGEST = 1 << 62
_RANGES = {"class_index": (-1, 999), "size": (0, _LARGEST), "offset": (0, _LARGEST), "stored": (0, _LARGEST)}
_MAY_BE_NULL = ("synset", "source")


def need(sound: bool, what: str) -> None:
    """Raises ValueError."""
    if not sound:
        raise ValueError(f"its {what} {'are' if what.endswith('s') else 'is'} damaged")


def is_word(value: object) -> bool:
    """Whether it is the name of one folder."""
    return isinstance(value, str) and value not in ("", ".", "..") and "/" not in value and value.isprintable()


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)


def check_options(options: Any) -> None:
    need(isinstance(options, dict), "options")
    sound = type(options.get("seed")) is int and type(options.get("shard_size")) is int
    need(sound and type(options.get("crop_ready")) is bool and isinstance(options.get("check"), str), "options")


def check_containers(containers: Sequence[Container]) -> None:
    for one in containers:
        for name, value in vars(one).items():
            if name == "segments":
                for path, begin, size, label in value:
                    texts = isinstance(label, str) and (path is None or isinstance(path, str))
                    need(texts and is_count(begin) and is_count(size), "containers")
            elif name != "listing":
                need(isinstance(value, str) or (name == "folded" and value is None), "containers")


def check_groups(groups: Sequence[Group], containers: int) -> None:
    for one in groups:
        need(is_count(one.container) and one.container < containers and isinstance(one.path, str), "groups")
        need(is_word(one.generator) and one.split in SPLITS and one.label in LABELS, "groups")


def check_shards(shards: Sequence[Shard], plans: Sequence[GroupPlan]) -> None:
    """One after another, each under the path of its place in its group."""
    seen: Counter[tuple[str, str]] = Counter()
    files: Counter[tuple[str, str]] = Counter()
    at = 0
    for one in shards:
        need(is_word(one.generator) and one.split in SPLITS and is_count(one.begin) and is_count(one.end), "shards")
        name = one.generator, one.split
        need(one.path == shard_path(*name, seen[name]) and one.begin == at <= one.end, "shards")
        seen[name] += 1
        files[name] += one.end - one.begin
        at = one.end
    for plan in plans:
        need(is_word(plan.generator) and is_count(plan.files) and isinstance(plan.digest, str), "plans")
    need({plan.name: plan.files for plan in plans} == files and len(plans) == len(files), "plans")


def check_rejected(rejected: Sequence[Rejected]) -> None:
    for one in rejected:
        need(isinstance(one.source, str) and isinstance(one.reason, str), "rejected files")
        need(all(isinstance(word, str | None) for word in (one.generator, one.split, one.label)), "rejected files")


def check_changed(changed: Any) -> None:
    need(isinstance(changed, dict), "states of folders")
    for numbers in changed.values():
        need(isinstance(numbers, list) and all(type(one) is int for one in numbers), "states of folders")


def check_schema(schema: pa.Schema, wanted: Sequence[tuple[str, pa.DataType]], kept: str, some: bool) -> None:
    """The columns are those `wanted` and those whose names begin by `kept`; `some`: which of them were read is
    another's matter."""
    need(len(set(schema.names)) == len(schema.names), "columns")
    types = {field.name: field.type for field in schema}
    for name, kind in wanted:
        need(types.get(name) == kind or (some and name not in types), f"column {name}")
    need(all(name.startswith(kept) for name in {*types} - {name for name, _ in wanted}), "columns")


def check_values(table: pa.Table, groups: int, columns: Collection[str]) -> None:
    """Of those of `columns` that the table has."""
    for name in [one for one in columns if one in table.column_names]:
        column = table[name]
        need(name in _MAY_BE_NULL or not column.null_count, f"column {name}")
        low, high = (0, groups - 1) if name == "group" else _RANGES.get(name, (None, None))
        if low is not None and len(column):
            found: dict[str, Any] = pc.min_max(column).as_py()
            need(low <= found["min"] <= found["max"] <= high, f"column {name}")
        if name == "key":
            odd = pc.or_(pc.match_substring_regex(column, UNSAFE), pc.greater(pc.binary_length(column), LONGEST))
            need(not pc.any(odd).as_py(), "column key")
        if name == "name":
            need(not pc.any(pc.match_substring(column, "\0")).as_py(), "column name")
