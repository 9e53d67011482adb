"""Helpers of both kernels' plans."""

from __future__ import annotations

from typing import NamedTuple


class NotForTheKernelError(ValueError):
    """The CPU has to decode this image: it has another form, or is damaged."""


class Window(NamedTuple):
    """A crop of an image: its left upper corner and size in pixels; whether it is mirrored left to right."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False
