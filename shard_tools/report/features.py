"""Properties of a file that a detector may learn instead of the traces of a generator, each with why and what helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genimage_stream.page.scales import dimensions
from shard_tools.report.statistics import Column, Mask, Samples, Words

Values = npt.NDArray[np.float64] | Column


@dataclass(frozen=True)
class Feature:
    """A property of a file. `why` says in a sentence how a detector gets to see it, `remedy` what takes it away."""

    name: str
    why: str
    remedy: str
    values: Callable[[Samples], Values]
    write: Callable[[Samples, float], str]
    unit: str = ""
    ordered: bool = True  # a number: a threshold makes sense
    ranges: bool = False  # look up ranges, values hardly repeat
    among: Callable[[Samples], Mask] | None = None  # the rows that have the property
    visible: bool = True  # to a detector, which is given pixels


def _number(_: Samples, value: float) -> str:
    return f"{value:,.0f}"


def _word(words: Callable[[Samples], Words]) -> Callable[[Samples, float], str]:
    return lambda samples, value: words(samples).names[int(value)] if value >= 0 else "not known"


FEATURES = (
    Feature(
        "File format",
        "Every fake of GenImage is a PNG, nearly every real a JPEG: traces of JPEG compression give the label away.",
        "Compress all images as JPEG, at qualities drawn alike for both labels.",
        lambda s: s.format.codes.astype(np.int64),
        _word(lambda s: s.format),
        ordered=False,
    ),
    Feature(
        "Colour mode",
        "Gray, CMYK or transparent images occur on one side only; as RGB they keep traces, such as equal channels.",
        "Leave out what is not plain RGB, or turn some of both labels gray.",
        lambda s: s.mode.codes.astype(np.int64),
        _word(lambda s: s.mode),
        ordered=False,
    ),
    Feature(
        "Exact size",
        "A generator has one output size; resized to a common size, each size keeps its own traces of resampling.",
        "Crop without resizing, and keep reals whose sizes lie near the generator's.",
        lambda s: s.width << 32 | s.height,
        lambda _, v: dimensions(int(v) >> 32, int(v) & 0xFFFFFFFF),
        ordered=False,
    ),
    Feature(
        "Width",
        "Visible to a detector as the strength of resizing, as padding, or as the seams of tiling.",
        "Crop without resizing, from images larger than the crop on both sides of the label.",
        lambda s: s.width,
        _number,
        "pixels",
    ),
    Feature(
        "Height",
        "As the width.",
        "As for the width.",
        lambda s: s.height,
        _number,
        "pixels",
    ),
    Feature(
        "Number of pixels",
        "Sums up width and height: how much an image shrinks when it is resized to the detector's input.",
        "Crop without resizing; select by a window of sizes.",
        lambda s: s.pixels,
        _number,
        "pixels",
    ),
    Feature(
        "Aspect ratio",
        "Generators draw squares, cameras do not: squeezing a photograph to a square distorts it measurably.",
        "Never change the aspect ratio; crop.",
        lambda s: s.width / np.maximum(s.height, 1),
        lambda _, v: f"{v:.3g}",
    ),
    Feature(
        "File size",
        "Not visible in the pixels, but it sums up size, format and detail.",
        "What helps for size and format helps here.",
        lambda s: s.size_bytes,
        _number,
        "bytes",
        ranges=True,
        visible=False,
    ),
    Feature(
        "Bytes per pixel",
        "How hard the image is to compress: format and quality first of all, then noise and detail.",
        "What helps for the format helps here.",
        lambda s: s.bytes_per_pixel,
        lambda _, v: f"{v:.3g}",
        ranges=True,
        visible=False,
    ),
    Feature(
        "JPEG quality or none",
        "Quantisation steps stay measurable after decoding; images that were never JPEG have none.",
        "Compress all images as JPEG, at qualities drawn alike for both labels.",
        lambda s: s.jpeg_quality,
        lambda _, v: f"{v:.0f}" if v >= 0 else "no JPEG",
        ordered=False,
    ),
    Feature(
        "JPEG quality among the JPEGs",
        "What the quality tells beyond the format: needs JPEGs of both labels.",
        "Draw the quality alike for both labels.",
        lambda s: s.jpeg_quality,
        _number,
        among=lambda s: s.jpeg_quality >= 0,
    ),
)
