"""Types of the C++ extension; binding.cpp is the other side."""

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

class DecodeError(ValueError): ...

def decode(
    data: Buffer, crop: tuple[int, int, int, int] | None, strict: bool, max_pixels: int, max_bytes: int
) -> npt.NDArray[np.uint8]: ...
def inspect(data: Buffer, max_pixels: int, max_bytes: int) -> tuple[str, str, int, int, int, int, bool]: ...
