"""Files of scores from strangers: of odd types, damaged, or of more rows than memory."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from tests.fixtures.shards import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 2))


@pytest.fixture
def file(dataset: gs.Dataset, tmp_path: Path) -> Path:
    scores = gs.Scores(dataset)
    scores.add(np.arange(len(dataset)), np.linspace(0, 1, len(dataset)))
    scores.save(tmp_path / "scores.parquet")
    return tmp_path / "scores.parquet"


ODD: dict[str, Any] = {
    "null": pa.nulls,
    "no words": lambda n: pa.nulls(n, pa.string()),
    "bytes": lambda n: pa.array([b"\xff"] * n),
    "lists": lambda n: pa.array([[1]] * n),
    "structs": lambda n: pa.array([{"a": 1}] * n),
    "unsigned": lambda n: pa.array([2**64 - 1] * n, pa.uint64()),
    "words": lambda n: pa.array(["\x1b[2J"] * n),
    "NaN": lambda n: pa.array([float("nan")] * n),
    "bool": lambda n: pa.array([True] * n),
}
TAKEN = {
    ("degradation", "words"),
    ("degradation", "bool"),
    ("degradation", "NaN"),
    ("degradation", "unsigned"),
    ("score", "bool"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("column", ["row", "key", "degradation", "score"])
def test_columns_of_odd_types(dataset: gs.Dataset, file: Path, column: str, kind: str) -> None:
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.column_names.index(column), column, ODD[kind](len(table))), file)
    if (column, kind) in TAKEN:  # text is text, True is 1
        gs.Scores.load(dataset, file)
        return
    with pytest.raises(ValueError, match=r"scores\.parquet|score"):
        gs.Scores.load(dataset, file)


def test_a_key_that_is_missing_is_another_sample(dataset: gs.Dataset, file: Path) -> None:
    table = pq.read_table(file)
    keys = [None, *table["key"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("key"), "key", pa.array(keys)), file)
    with pytest.raises(ValueError, match="rows without a key"):
        gs.Scores.load(dataset, file)


def test_more_rows_than_a_dataset_can_have(dataset: gs.Dataset, tmp_path: Path) -> None:
    n = 10**7
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array(["x"]))
    columns = {
        "row": pa.array(np.zeros(n, np.int8)),
        "key": one,
        "degradation": one,
        "score": pa.array(np.zeros(n, np.float32)),
    }
    pq.write_table(pa.table(columns), tmp_path / "scores.parquet")
    with pytest.raises(ValueError, match="10,000,000 scores are more"):
        gs.Scores.load(dataset, tmp_path / "scores.parquet")


def test_damage_is_found(dataset: gs.Dataset, file: Path) -> None:
    sound = file.read_bytes()
    expected = gs.Scores.load(dataset, file).of("none").tolist()
    chance = random.Random(5)
    said: list[str] = []
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 8])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
        try:
            assert gs.Scores.load(dataset, file).of("none").tolist() == expected
        except (ValueError, OSError) as error:
            said.append(str(error))
    assert len(said) > 75
    assert all(map(str.isprintable, said))
    for text in (b"", b"hello", b"PAR1PAR1", bytes(1000)):
        file.write_bytes(text)
        with pytest.raises(ValueError, match="is no file of scores"):
            gs.Scores.load(dataset, file)
