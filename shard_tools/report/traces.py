"""Whether pixels were a JPEG before: traces that stay after decoding, which a detector sees.

At the positions where a JPEG's 8x8 blocks began, coefficients of high frequency are near zero, because they were
rounded to multiples of several levels; at all other positions they are not. So the share of such coefficients is
computed for each of the 64 places where blocks may begin, and one place that stands out is that of the compression.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
NO_BLOCKS = -1

_NEAR_ZERO = 0.75  # levels; rounding the pixels spreads a coefficient that was zero by 0.3
_STANDS_OUT = 6.0  # deviations of the other places: images that never were JPEGs stay below
_K = np.arange(8)
_DCT = np.cos(np.pi * (2 * _K[None] + 1) * _K[:, None] / 16) * np.where(_K[:, None], 0.5, 0.125**0.5)
#: (64 pixels of a block, frequencies): high ones, of which an image has little of its own, but not the very highest.
_HIGH = np.stack(
    [np.outer(_DCT[u], _DCT[v]).reshape(64) for u in _K for v in _K if 6 <= u + v <= 9], axis=1, dtype=np.float32
)


def block_start(pixels: npt.NDArray[np.uint8]) -> int:
    """Where the 8x8 blocks of a former JPEG begin in (height, width, 3) pixels, at least 17 wide and high: 8 y + x,
    both 0 to 7, or NO_BLOCKS when no place stands out."""
    luma = pixels @ LUMA
    height, width = (side - 7 for side in luma.shape)
    blocks = np.lib.stride_tricks.sliding_window_view(luma, (8, 8)).reshape(-1, 64)  # at every place
    other = (np.abs(blocks @ _HIGH) >= _NEAR_ZERO).mean(axis=1).reshape(height, width)
    shares = np.array([other[y::8, x::8].mean() for y in range(8) for x in range(8)])
    depth = -np.log(shares + 1e-3)
    place = int(np.argmax(depth))
    # The spread of the middle: neighbours of the right place, whose blocks overlap its own, are deeper, too.
    low, middle, high = np.quantile(np.delete(depth, place), (0.159, 0.5, 0.841))
    spread = max(float(high - low) / 2, 5e-3)
    return place if depth[place] - middle > _STANDS_OUT * spread else NO_BLOCKS
