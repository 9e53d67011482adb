"""Which columns of a table, or fields of a WebDataset sample, say what: by their names, or by `--columns`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING

from genimage_stream.vocabulary import FAKE, LABEL_ALIASES, LABELS, REAL, REAL_POOL, simplify
from shard_tools.errors import ToolError
from shard_tools.layout.words import generator_name, read_name

if TYPE_CHECKING:
    import pyarrow as pa

ROLES = ("image", "path", "generator", "split", "label")
#: Names of columns as `simplify` writes them, the surest first.
USUAL = {
    "image": (
        *("image", "img", "png", "jpg", "bytes", "imagedata", "imagebytes", "imgdata", "imgbytes", "jpeg", "webp"),
        *("picture", "photo", "imagecontent"),
    ),
    "path": ("imagepath", "path", "filename", "file", "name", "imagename", "imagefile"),
    "generator": ("generator", "generatorname", "model", "modelname", "genmodel", "generativemodel", "source"),
    "split": ("split", "partition"),
    "label": ("label", "labels", "cls"),
}
#: Columns of booleans whose names say what True means.
BOOLEANS = {
    **dict.fromkeys(("isfake", "fake", "isai", "aigenerated", "isaigenerated", "isgenerated", "issynthetic"), FAKE),
    **dict.fromkeys(("isreal", "real"), REAL),
}
#: What may say a label, a split or a generator, and is not read unless the user says so.
_USEFUL = {
    *("target", "class", "type", "subset", "category", "method", "architecture", "labela", "labelb", "realsource"),
    *(name for role in ("generator", "split", "label") for name in USUAL[role]),
    *BOOLEANS,
}
_WHOLE = re.compile(r"-?\d+\.0+")
_NOTHING = {"", "none", "null", "nan", "na", "unknown"}


@dataclass(frozen=True)
class Columns:
    """`--columns`, `--labels` and `--keep` of the user."""

    given: tuple[tuple[str, str], ...] = ()  # (role, name of the column)
    labels: tuple[tuple[str, str], ...] = ()  # (value of a label column in lower case, label)
    keep: tuple[str, ...] = ()  # further columns, for the index

    def of(self, role: str) -> str | None:
        return dict(self.given).get(role)

    def kept_of(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """(name as the user wrote it, that of the column) for those of `--keep` that there are."""
        return tuple((wanted, found) for wanted in self.keep if (found := column(names, wanted)))


NO_COLUMNS = Columns()


def parse_columns(columns: str | None = None, labels: str | None = None, keep: str | None = None) -> Columns:
    """Raises ToolError for what is not of the form `role=name,...`."""
    given: list[tuple[str, str]] = []
    for part in _parts(columns):
        role, equals, name = (text.strip() for text in part.partition("="))
        if not equals or not name or role not in ROLES:
            raise ToolError(
                f"--columns {part!r}: write role=column with a role of {', '.join(ROLES)}, e.g. "
                "--columns image=image_data,generator=model_name"
            )
        given.append((role, name))
    meanings: list[tuple[str, str]] = []
    for part in _parts(labels):
        value, equals, word = (text.strip() for text in part.rpartition("="))
        meaning = LABEL_ALIASES.get(simplify(word))
        if not equals or not value or meaning is None:
            raise ToolError(f"--labels {part!r}: write value=real or value=fake, e.g. --labels 0=real,1=fake")
        meanings.append((value.lower(), meaning))
    kept = tuple(dict.fromkeys(part.strip() for part in _parts(keep)))
    return Columns(tuple(given), tuple(meanings), kept)


def _parts(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part.strip()]


def column(names: Sequence[str], wanted: str) -> str | None:
    """The column of that name, in any letter case where none has exactly it."""
    return wanted if wanted in names else next((name for name in names if name.lower() == wanted.lower()), None)


def pick(role: str, names: Sequence[str], columns: Columns, where: str) -> str | None:
    """The column for a role: the one that the user gave, or the surest by its name.

    Raises ToolError when the given one is not there.
    """
    given = columns.of(role)
    if given is not None:
        found = column(names, given)
        if found is None:
            raise ToolError(
                f"--columns {role}={given}: {where} has no such column; it has {', '.join(names[:20]) or 'none'}"
            )
        return found
    for usual in USUAL[role]:
        for name in names:
            if simplify(name) == usual:
                return name
    if role == "label":
        return next((name for name in names if simplify(name) in BOOLEANS), None)
    return None


def unused(names: Iterable[str], used: Iterable[str | None], columns: Columns) -> str | None:
    """A sentence on columns that may matter and are not read, or None."""
    known = {*filter(None, used)}
    kept = {name.lower() for name in columns.keep}
    left = [name for name in names if name not in known and name.lower() not in kept and simplify(name) in _USEFUL]
    if not left:
        return None
    return (
        f"not used: the columns {', '.join(left)}; where one is what is wanted, say so, e.g. --columns "
        f"generator={left[0]} (or label=, split=), or put them into the index by --keep {','.join(left)}"
    )


@dataclass
class Meaning:
    """What the values of the columns of one table mean."""

    columns: Columns
    label: str | None = None  # names of the columns
    generator: str | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)  # column -> what its numbers stand for

    def label_of(self, value: object) -> str | None:
        """The label that a value of the label column says; None: nothing that is sure."""
        if value is None or self.label is None:
            return None
        value = whole(value)
        given = dict(self.columns.labels).get(str(value).lower())
        if given:
            return given
        if isinstance(value, bool):
            of_true = BOOLEANS.get(simplify(self.label))
            return None if of_true is None else of_true if value else next(word for word in LABELS if word != of_true)
        meanings = dict(self.columns.labels)
        word = self._word(self.label, value)
        if word is None:
            return meanings.get("*")
        known = meanings.get(word.lower()) or LABEL_ALIASES.get(simplify(word)) or read_name(word).label
        return known or meanings.get("*")

    def generator_of(self, value: object) -> str | None:
        """The name of the generator that a value says; the pool's for one that means that the image is real."""
        if value is None or self.generator is None:
            return None
        word = self._word(self.generator, value)
        if word is None and isinstance(value, int) and self.columns.of("generator"):
            word = f"{self.generator}-{value}"
        if word is None or (simplify(word) in _NOTHING and word.isascii()):
            return None
        if LABEL_ALIASES.get(simplify(word)) == REAL:
            return REAL_POOL
        return generator_name(word) if simplify(word) not in LABEL_ALIASES else None

    def _word(self, of: str, value: object) -> str | None:
        names = self.names.get(of)
        if names is not None and isinstance(value, int) and 0 <= value < len(names):
            return str(names[value])
        return value if isinstance(value, str) else None

    def question(self, values: Iterable[object]) -> str:
        """What to ask about values of the label column that say nothing sure."""
        shown = sorted({str(value) for value in values})[:4]
        first = ",".join(f"{value}={label}" for value, label in zip(shown, (*LABELS, *LABELS), strict=False))
        return (
            f"its column {self.label!r} holds {', '.join(shown)}, and nothing says which of them are real: add "
            f"--labels {first.lower()}, or the other way round"
        )


def whole(value: object) -> object:
    """A value of a label column; whole numbers may be written as others: pandas does so beside missing ones."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float):
        return None if isnan(value) else str(value)
    return value.partition(".")[0] if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


class Contradictions:
    """Images of which a column says another label than their path. One of both is wrong, and nothing tells which."""

    def __init__(self, meaning: Meaning, where: str) -> None:
        self._column, self._where = meaning.label, where
        self._believed = meaning.columns.of("label") is not None  # the user named the column
        self._first, self._label = "", ""
        self._count = 0

    def settle(self, path: str, by_path: str | None, by_column: str | None) -> str | None:
        """The label of an image."""
        if by_path is None or by_column is None or by_path == by_column:
            return by_path or by_column
        self._first, self._label = self._first or path, self._label or by_column
        self._count += 1
        return by_column

    def end(self) -> list[str]:
        """What there is to say. Raises ToolError where the user has to decide."""
        if not self._count:
            return []
        said = f"for {self._count:,} images the column {self._column!r} says another label than their paths, "
        said += f"e.g. {self._first} is {self._label} by the column"
        if self._believed:
            return [f"{self._where}: {said}; the column is taken, as --columns label={self._column} says"]
        raise ToolError(
            f"{self._where}: {said}: if the column is right, say so by --columns label={self._column}; otherwise look "
            "at --labels, or take the column out"
        )


def typed(values: Sequence[object]) -> pa.Array:
    """A column of the index: booleans, whole numbers or numbers where all values are, otherwise text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values if isinstance(value, int)):
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if value is None else float(str(value)) for value in values], pa.float64())
    text = (value if value is None or isinstance(value, str) else _as_text(value) for value in values)
    return pa.array(list(text), pa.string())


def _as_text(value: object) -> str:
    return json.dumps(value, default=str) if isinstance(value, (dict, list, bool)) else str(value)


def read_text(suffix: str, text: str, into: dict[str, object]) -> None:
    """The columns of a small file beside an image: itself, or the fields of a JSON object."""
    text = text.strip()
    if suffix.endswith("json"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return  # then it says nothing; the images are there all the same
        if isinstance(found, dict):
            into.update((key, value) for key, value in found.items() if isinstance(value, (str, int, float, bool)))
        return
    into[suffix] = int(text) if text.lstrip("-").isdecimal() and text.isascii() and len(text) < 18 else text


def split_of(value: object) -> str | None:
    return read_name(value).split if isinstance(value, str) else None
