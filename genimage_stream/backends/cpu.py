"""The CPU backend: the threads of the C++ core decode, crop, mirror and normalise into host memory."""

from __future__ import annotations

from genimage_stream.backends.finishing import HostFinisher
from genimage_stream.backends.renderer import Buffers, Renderer
from genimage_stream.decode import BatchDecoder, PixelOptions


class CpuRenderer(Renderer):
    """`buffers` gives batches of the output's type."""

    def __init__(
        self, decoder: BatchDecoder, buffers: Buffers, pixels: PixelOptions, *, channels_last: bool = False
    ) -> None:
        super().__init__(decoder, buffers, pixels, HostFinisher(channels_last=channels_last))
