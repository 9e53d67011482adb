"""The options that decide what the pixels of a batch are, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genimage_stream.arguments import one_of
from genimage_stream.decode.checks import fill_pixel, normalisation

Small = Literal["tile", "reflect", "constant", "resize"]
Output = Literal["uint8", "float16", "float32"]

# In the order of the enums in cpp.image.smaller_than_window.hpp and cpp/image/output.hpp.
SMALL = ("tile", "reflect", "constant", "resize")
OUTPUTS: tuple[Output, ...] = ("uint8", "float16", "float32")


@dataclass(frozen=True)
class PixelOptions:
    """`output`: the type of the batch; of floats the value is `(pixel / 255 - mean[c]) / std[c]`. `small`: how an image
    smaller than the window continues beyond its right and lower edges; `fill` (three bytes) is for "constant".

    Raises ValueError, naming the option, for a value that makes no sense or would have no effect.
    """

    output: Output = "uint8"
    small: Small = "tile"
    fill: Sequence[int] = (0, 0, 0)
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        one_of("output", self.output, OUTPUTS)
        one_of("small", self.small, SMALL)
        mean, std = normalisation(self.mean, self.std, self.output)
        fill = fill_pixel(self.fill)
        if any(fill) and self.small != "constant":
            raise ValueError(f'fill={self.fill!r} has no effect with small={self.small!r}: it is for small="constant"')
        for name, value in (("mean", mean), ("std", std), ("fill", fill)):
            object.__setattr__(self, name, value)

    def as_bytes(self) -> PixelOptions:
        """The same before normalisation."""
        return replace(self, output="uint8", mean=None, std=None)
