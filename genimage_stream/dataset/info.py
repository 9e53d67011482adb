"""dataset.json: what a dataset says of itself."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from typing import Any, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

from genimage_stream import schema
from genimage_stream.remedies import printable
from genimage_stream.storage.within import check_shard_paths
from genimage_stream.vocabulary import LABELS, SPLITS

_LONGEST = 4096  # characters of a text
_WORDS = {"split": SPLITS, "label": LABELS}


class GroupCounts(TypedDict):
    generator: str
    split: str
    label: str
    samples: int
    quarantined: int
    size: int  # bytes of the stored images


class Counts(TypedDict):
    samples: int
    quarantined: int
    shards: int
    size: int  # bytes of the shards
    groups: list[GroupCounts]


class ShardEntry(TypedDict):
    path: str
    samples: int
    size: int


class GroupPlanFields(TypedDict):
    """What a (generator, split) was planned from; see shard_tools/plan.py."""

    generator: str
    split: str
    files: int
    digest: str


class DatasetFields(TypedDict):
    """dataset.json as the packer writes it."""

    format_version: int
    seed: int
    options: dict[str, Any]
    plan_digest: str
    counts: Counts
    shards: list[ShardEntry]


class WrittenFields(DatasetFields, total=False):
    """With what is there for people."""

    written_by: str
    planned_files: int
    plans: list[GroupPlanFields]
    license: str


@dataclass(frozen=True)
class DatasetInfo:
    """`fields`: the object in the file called `name`. Loading needs none of them; tools call `check_complete` first."""

    name: str
    fields: WrittenFields

    @property
    def plan_digest(self) -> str | None:
        """Tells datasets that were packed from other files or with other options apart."""
        digest = self.fields.get("plan_digest")
        return digest if isinstance(digest, str) else None

    @property
    def plans(self) -> list[GroupPlanFields]:
        """What each (generator, split) was planned from. Raises KeyError where that is not said."""
        return self.fields["plans"]

    @property
    def crop_ready(self) -> bool:
        """Whether it was packed with --crop-ready."""
        options = self.fields.get("options")
        return isinstance(options, dict) and bool(options.get("crop_ready"))

    @property
    def samples(self) -> int | None:
        """How many rows the index has; None where that is not said."""
        counts = self.fields.get("counts")
        samples = counts.get("samples") if isinstance(counts, dict) else None
        return samples if type(samples) is int else None

    def check_complete(self) -> DatasetInfo:
        """Raises ValueError unless every field that the packer writes is there and every shard's path is sound."""
        if wrong := _misfit(self.fields, DatasetFields, ""):
            raise ValueError(
                f"{self.name} is not one that this program writes ({wrong}): restore it, or remove the dataset and "
                "pack again"
            )
        check_shard_paths((shard["path"] for shard in self.fields["shards"]), self.name)
        return self


def _number(text: str) -> float:
    """A number of JSON, which has no NaN and no infinity. Raises ValueError for others."""
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:20]}")
    return float(text)


def parse_info(text: bytes | bytearray, name: str) -> DatasetInfo:
    """The contents of the file called `name`. Raises ValueError when they are damaged or of a newer format."""
    try:
        fields = json.loads(text, parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is damaged ({error}): restore it, or remove the dataset and pack again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{name} is damaged (not a JSON object): restore it, or remove the dataset and pack again")
    version = fields.get("format_version", schema.FORMAT_VERSION)
    if not isinstance(version, int) or version > schema.FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {printable(str(version)[:20])}, this genimage-stream reads up to "
            f"{schema.FORMAT_VERSION}: install a newer one"
        )
    return DatasetInfo(name, cast(WrittenFields, fields))


_hints = functools.cache(get_type_hints)


def _misfit(value: Any, wanted: Any, where: str) -> str | None:
    """Where a JSON value differs from the wanted type: a TypedDict, list[...], dict[...] or class; None: nowhere."""
    inner: list[tuple[Any, Any, str]] = []
    if is_typeddict(wanted) or get_origin(wanted) is dict:
        if not isinstance(value, dict):
            return f"{where or 'it'} is not an object"
        forms = _hints(wanted) if is_typeddict(wanted) else {}
        inner = [(value.get(name), form, f"{where}.{name}".lstrip(".")) for name, form in forms.items()]
    elif get_origin(wanted) is list:
        if not isinstance(value, list):
            return f"{where} is not a list"
        inner = [(one, get_args(wanted)[0], f"{where}[{at}]") for at, one in enumerate(value)]
    else:
        sound = isinstance(value, wanted) and not isinstance(value, bool)
        if sound and isinstance(value, int):
            sound = 0 <= value < 1 << 63 or where == "seed"
        if sound and isinstance(value, str):
            sound = value.isprintable() and len(value) <= _LONGEST
            sound = sound and value in _WORDS.get(where.rpartition(".")[2], [value])
        return None if sound else f"{where} is missing or damaged"
    return next((wrong for one in inner if (wrong := _misfit(*one))), None)
