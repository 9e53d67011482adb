"""Which bytes of a stored image a window needs, by the index's column `segments`; pure.

Of a crop-ready PNG that column holds the rows of a band of rows, the position of the first band in the image's bytes,
and where each band ends. A reader of an object store then requests the bytes before the first band and those of the
bands that the window shows, and nothing else. Other images, and those of less than WORTH_BYTES, have no entry and are
read whole; so are JPEGs, since one request from the start to the last row needed would save only a few per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Smaller images are read whole: the bytes that could be saved cost less than another request.
WORTH_BYTES = 192 << 10
#: Decoders read the first band's length and type together with what is before it.
_CHUNK_HEAD = 12


@dataclass(frozen=True)
class SegmentTable:
    """The column: the entry of row i is `values[starts[i] : starts[i + 1]]`, empty where there is none.

    `starts` int (rows + 1,), `values` int32.
    """

    starts: npt.NDArray[np.integer]
    values: npt.NDArray[np.int32]

    def needed(
        self,
        rows: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        tops: npt.NDArray[np.integer],
        heights: npt.NDArray[np.integer],
    ) -> npt.NDArray[np.int64]:
        """(n, 3): of each image the number of bytes at its start, and the first and one past the last of another part.

        `sizes` (n,) are bytes; `tops` (n,) and `heights` (n,) say which rows of pixels are needed. The first number is
        the image's size where all of it is needed, or more than half of it, by the same rule as the decoder's.
        """
        found = np.repeat(sizes[:, None], 3, axis=1)
        start, end = self.starts[rows].astype(np.int64), self.starts[rows + 1].astype(np.int64)
        some = np.flatnonzero((end - start >= 3) & (heights > 0))
        if not len(some):
            return found
        start, end = start[some], end[some]
        top, height = tops[some].astype(np.int64), heights[some].astype(np.int64)
        band_rows, first = (self.values[start + i].astype(np.int64) for i in (0, 1))
        from_band, to_band = top // np.maximum(band_rows, 1), (top + height - 1) // np.maximum(band_rows, 1)
        sound = (band_rows > 0) & (start + 2 + to_band < end)
        some, start, first, from_band, to_band = (one[sound] for one in (some, start, first, from_band, to_band))
        begin, behind = (self.values[start + 1 + one].astype(np.int64) for one in (from_band, to_band + 1))
        worth = (first + behind - begin <= sizes[some] // 2) & (behind <= sizes[some]) & (begin < behind) & (first > 0)
        some = some[worth]
        found[some] = np.stack([first[worth] + _CHUNK_HEAD, begin[worth], behind[worth]], axis=1)
        return found
