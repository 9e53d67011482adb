"""The arrays that a batch is decoded from and into, as the core takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError
from genimage_stream.decode.checks import LARGEST_WINDOW
from genimage_stream.decode.pixels import OUTPUTS


def column(
    values: npt.ArrayLike | None, dtype: type[np.generic], shape: tuple[int, ...], name: str
) -> npt.NDArray[Any] | None:
    """`values` as a contiguous array of that type and shape; nothing is rounded or wrapped to fit. None stays None."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.size == 0 == shape[0]:  # [] has neither columns nor that type
        return np.empty(shape, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    integers = np.dtype(dtype).kind in "iu"
    if array.dtype.kind not in ("biu" if integers else "biuf"):
        raise WrongKindError(f"{name} has the type {array.dtype}, not {np.dtype(dtype).name}")
    converted = array.astype(dtype)
    if integers and not np.array_equal(converted, array):
        raise ValueError(f"{name} has values that {np.dtype(dtype).name} does not hold")
    return np.ascontiguousarray(converted)


def describe(out: Any) -> tuple[object, tuple[int, int, int, int, int]]:
    """The output's (owner, (address, element, n, height, width)). torch is recognised by its methods, not imported."""
    keep: object = out
    if hasattr(out, "data_ptr") and hasattr(out, "is_contiguous"):  # a torch tensor
        if out.device.type != "cpu":
            raise ValueError(f"out is on {out.device}; decode into a (pinned) CPU tensor and copy that")
        address, shape, dtype = int(out.data_ptr()), tuple(out.shape), str(out.dtype).removeprefix("torch.")
        contiguous = bool(out.is_contiguous())
    else:
        array = out if isinstance(out, np.ndarray) else _as_array(out)
        if not array.flags.writeable:
            raise ValueError("out is read-only")
        keep, address = array, array.ctypes.data
        shape, dtype, contiguous = array.shape, array.dtype.name, array.flags.c_contiguous
        if not array.dtype.isnative:
            raise WrongKindError("out must be of the machine's byte order")
    if dtype not in OUTPUTS:
        raise WrongKindError(f"out must be uint8, float16 or float32, not {dtype}")
    if len(shape) != 4 or shape[1] != 3 or shape[2] < 1 or shape[3] < 1:
        raise ValueError(f"out must have the shape (n, 3, height, width), not {tuple(shape)}")
    if max(shape[2], shape[3]) > LARGEST_WINDOW:
        raise ValueError(
            f"a window of {shape[3]}x{shape[2]} is larger than any image: at most {LARGEST_WINDOW} per side"
        )
    if not contiguous:
        raise ValueError("out must be C-contiguous")
    return keep, (address, OUTPUTS.index(dtype), shape[0], shape[2], shape[3])


def _as_array(out: Any) -> npt.NDArray[Any]:
    """A view of memory that offers the array interface, DLPack or the buffer protocol."""
    if hasattr(out, "__array_interface__"):
        return np.asarray(out)
    if hasattr(out, "__dlpack__"):
        return np.from_dlpack(out)
    try:
        return np.asarray(memoryview(out))
    except TypeError:
        raise WrongKindError(f"out must be a NumPy array or a CPU tensor, not {type(out).__name__}") from None
