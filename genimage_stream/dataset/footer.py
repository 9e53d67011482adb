"""Where the columns of a Parquet file are, from its footer.

pyarrow tells it as well, but its getters do not catch errors of C++: a damaged footer ends the process (pyarrow 26;
reading does catch them). The footer is a Thrift struct in the compact protocol; the numbers of fields are those of the
Parquet format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_DEEPEST = 20  # structs and lists within each other; Parquet's have 7


class Chunk(NamedTuple):
    """The bytes of one column in one row group."""

    column: str
    start: int
    end: int


def column_chunks(footer: bytes) -> list[list[Chunk]]:
    """Of each row group, where its columns are. Raises ValueError for a footer that is not one."""
    try:
        walk = _Walk(footer)
        groups: list[list[Chunk]] = []
        for number, kind in walk.fields():
            if (number, kind) == (4, _LIST):  # FileMetaData.row_groups
                groups += [_group(walk, inner) for inner in walk.elements()]
            else:
                walk.skip(kind)
    except IndexError:
        raise ValueError("its footer is cut off") from None
    return groups


def _group(walk: _Walk, kind: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    for number, inner in _struct(walk, kind):
        if (number, inner) == (1, _LIST):  # RowGroup.columns
            chunks += [_chunk(walk, chunk_kind) for chunk_kind in walk.elements()]
        else:
            walk.skip(inner)
    return chunks


def _chunk(walk: _Walk, kind: int) -> Chunk:
    found: Chunk | None = None
    for number, inner in _struct(walk, kind):
        if (number, inner) == (3, _STRUCT):  # ColumnChunk.meta_data
            found = _metadata(walk)
        else:
            walk.skip(inner)
    if found is None:
        raise ValueError("a column of a row group is not described")
    return found


def _metadata(walk: _Walk) -> Chunk:
    path: list[str] = []
    numbers = {7: 0, 9: 0}  # total_compressed_size, data_page_offset; 11: dictionary_page_offset
    for number, kind in walk.fields():
        if (number, kind) == (3, _LIST):  # path_in_schema
            path = [walk.text(inner) for inner in walk.elements()]
        elif number in (7, 9, 11) and kind in _INTEGERS:
            numbers[number] = walk.integer()
        else:
            walk.skip(kind)
    if not path:
        raise ValueError("a column of a row group has no name")
    start = min(numbers[9], numbers.get(11) or numbers[9])  # some writers give 0 where there is no dictionary
    return Chunk(path[0], start, start + numbers[7])


def _struct(walk: _Walk, kind: int) -> Iterator[tuple[int, int]]:
    if kind != _STRUCT:
        raise ValueError("a part of its footer is of another kind")
    return walk.fields()


class _Walk:
    """A place in a message of Thrift's compact protocol. Raises IndexError at its end."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 0

    def _byte(self) -> int:
        value = self._message[self._at]
        self._at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 70:
                raise ValueError("a number in its footer is too long")

    def integer(self) -> int:
        coded = self._varint()
        return (coded >> 1) ^ -(coded & 1)

    def text(self, kind: int) -> str:
        if kind != _BINARY:
            raise ValueError("a name in its footer is of another kind")
        size = self._varint()  # before the place, which it moves
        begin, self._at = self._at, self._at + size
        if self._at > len(self._message):
            raise IndexError
        return self._message[begin : self._at].decode("utf-8", "replace")

    def fields(self) -> Iterator[tuple[int, int]]:
        """(number, kind) of each field of a struct; whoever iterates takes the value before the next."""
        number = 0
        while kind := self._byte():
            if kind >> 4:
                number += kind >> 4
            else:
                number = self.integer()
            yield number, kind & 15

    def elements(self) -> Iterator[int]:
        """The kind of each element of a list; whoever iterates takes the element before the next."""
        head = self._byte()
        for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
            yield head & 15

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a field's value."""
        if depth > _DEEPEST:
            raise ValueError("its footer is too deep")
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            size = self._varint()  # before the place, which it moves
            self._at += size
        elif kind in (_LIST, _SET):
            for inner in self.elements():
                if inner in (_TRUE, _FALSE):  # one byte each, in lists
                    self._byte()
                self.skip(inner, depth + 1)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in _INTEGERS:
            self._varint()
        else:
            raise ValueError("its footer has a value of an unknown kind")
        if self._at > len(self._message):
            raise IndexError
