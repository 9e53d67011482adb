"""A batch as one picture: its images in a grid, un-normalised, with labels. Pillow draws it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.vocabulary import LABELS

_EDGE = 3  # pixels around an image, in its label's colour
_LINE = 12  # pixels of a line of text
_NARROWEST = 96  # pixels of a cell, so that its text can be read
_COLOURS = {0: (31, 111, 181), 1: (194, 87, 26)}  # real, fake: those of our pages


class Png(bytes):
    """The bytes of a PNG, which a notebook shows."""

    def _repr_png_(self) -> bytes:
        return bytes(self)


def grid(
    images: torch.Tensor,
    labels: Sequence[int],
    keys: Sequence[str],
    normalization: tuple[Sequence[float], Sequence[float]] | None,
    columns: int,
) -> Png:
    """Images (n, ..., 3, height, width), a row of n cells per `columns`; the pictures of one sample side by side.

    Raises ImportError without Pillow.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("batch.show draws with Pillow: pip install pillow") from error
    pixels = _pixels(images, normalization)
    n, pictures, height, width = pixels.shape[:4]
    cell_width = max(_NARROWEST, pictures * width) + 2 * _EDGE
    cell_height = height + 2 * _EDGE + 2 * _LINE
    columns = max(1, min(columns, n))
    sheet = Image.new("RGB", (columns * cell_width, -(-n // columns) * cell_height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for i, (label, key) in enumerate(zip(labels, keys, strict=True)):
        x, y = i % columns * cell_width, i // columns * cell_height
        colour = _COLOURS[label]
        draw.rectangle((x, y, x + cell_width - 1, y + height + 2 * _EDGE - 1), fill=colour)
        for number, picture in enumerate(pixels[i]):
            sheet.paste(Image.fromarray(picture), (x + _EDGE + number * width, y + _EDGE))
        below = y + height + 2 * _EDGE
        draw.text((x + 1, below), LABELS[label], fill=colour, font=font)
        draw.text((x + 1, below + _LINE), _fitting(key, cell_width - 2, font), fill=(27, 31, 35), font=font)
    to = io.BytesIO()
    sheet.save(to, "PNG")
    return Png(to.getvalue())


def _pixels(
    images: torch.Tensor, normalization: tuple[Sequence[float], Sequence[float]] | None
) -> npt.NDArray[np.uint8]:
    """(n, pictures, height, width, 3) uint8."""
    images = images.detach().cpu()
    values = (images[:, None] if images.ndim == 4 else images.flatten(1, -4)).movedim(2, -1)
    if values.dtype != torch.uint8:
        mean, std = (torch.tensor(part, dtype=torch.float32) for part in normalization or ((0.0,) * 3, (1.0,) * 3))
        values = ((values.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(values.numpy())


def _fitting(text: str, width: int, font: Any) -> str:
    """The end of a text, which tells keys apart, as far as it fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text
