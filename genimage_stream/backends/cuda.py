"""The CPU's backend for batches on a GPU: the core's threads decode to uint8, the GPU normalises.

A uint8 batch is a quarter of a float32 one, on the bus and for the threads. The values come from the table that the
core uses; what steps put into normalised values the core computes, and it is sent along. So the batch is bit-equal to
that on the host. A decoded batch is sent to the device when the one before is
taken, on a CUDA stream of its own: the copy runs beside the step on the batch before.
"""

from __future__ import annotations

import torch

from genimage_stream.backends.finishing import Finisher, Lane
from genimage_stream.backends.renderer import Buffers, Renderer
from genimage_stream.decode import BatchDecoder, PixelOptions


class DeviceRenderer(Renderer):
    """`buffers` gives uint8 batches; `pixels` are those of the batches handed over."""

    survives_fork = False
    normalises = False

    def __init__(
        self,
        decoder: BatchDecoder,
        buffers: Buffers,
        pixels: PixelOptions,
        *,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        finish = Finisher(pixels, Lane(device), channels_last=channels_last)
        super().__init__(decoder, buffers, pixels.as_bytes(), finish)
