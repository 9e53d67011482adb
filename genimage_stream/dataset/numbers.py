"""Numbers between Arrow and NumPy, sharing memory.

pyarrow's `to_numpy` and `array` import pandas where it is installed: tenths of a second, in which a Ctrl-C gets lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}  # as Arrow names them


def to_numpy(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of integers, floats or truths without nulls. Read-only."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_boolean(array.type):
        return to_numpy(array.cast(pa.uint8())).view(np.bool_)
    kind = np.dtype(_FLOATS.get(str(array.type), str(array.type)))
    assert not array.null_count, "values of nulls are whatever was there"
    return np.frombuffer(array.buffers()[1] if len(array) else b"", kind, len(array), array.offset * kind.itemsize)


def from_numpy(values: npt.NDArray[np.int64]) -> pa.Array:
    """Row numbers as an Arrow array."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, np.int64))])
