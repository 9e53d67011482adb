"""Numbers between Arrow and NumPy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from genimage_stream.dataset.numbers import from_numpy, to_numpy

KINDS = ["int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool"]


@pytest.mark.parametrize("kind", KINDS)
def test_as_pyarrow_does_it(kind: str) -> None:
    values = np.random.default_rng(1).integers(0, 2, 37).astype(kind)
    whole = pa.array(values)
    for array in (
        whole,
        whole[3:29],
        whole[:0],
        pa.chunked_array([whole[:9], whole[9:]]),
        pa.chunked_array([], whole.type),
    ):
        found = to_numpy(array)
        expected = array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_rows() -> None:
    for rows in (np.arange(7), np.arange(20)[::3], np.arange(0), np.arange(5, dtype=np.int32)):
        assert from_numpy(rows).equals(pa.array(rows, pa.int64()))


def test_nulls_have_no_value() -> None:
    with pytest.raises(AssertionError, match="nulls"):
        to_numpy(pa.array([1, None]))
