"""The CPU's backend for batches on a GPU: the core's threads decode to uint8, the GPU normalises.

Bytes instead of floats go over the bus, and out of the threads' hands: a quarter of float32. The values come from the
table that the core uses, so the batch is bit-equal to that on the host. It sets out for the device as soon as it is
decoded and somebody looks, on a CUDA stream of its own: the copy runs beside the step on the batch before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genimage_stream.backends.finishing import Finisher, Lane
from genimage_stream.decode import BatchDecoder, FileRanges, ImageError, JobStats

if TYPE_CHECKING:
    import torch
    from typing_extensions import Buffer

    from genimage_stream.decode import Job, PartialBytes
    from genimage_stream.loading.buffers import BufferPool
    from genimage_stream.order.geometry import Windows


class DeviceRenderer:
    """`buffers` gives uint8 batches; `rendering` is what `BatchDecoder.submit` takes beyond crops and flips; `output`,
    the type of the batches handed over."""

    def __init__(
        self,
        decoder: BatchDecoder,
        buffers: BufferPool,
        rendering: dict[str, Any],
        *,
        output: str,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        self.lane = Lane(device)
        self._decoder = decoder
        self._buffers = buffers
        self._pixels = {name: rendering[name] for name in ("small", "fill") if name in rendering}
        mean, std = rendering.get("mean"), rendering.get("std")
        self.on_device = Finisher(output, mean, std, lane=self.lane, channels_last=channels_last)
        self._decoding: deque[DeviceRendering] = deque()

    def submit(self, source: Sequence[Buffer | PartialBytes] | FileRanges, windows: Windows) -> DeviceRendering:
        n = len(windows.flips)
        images = self._buffers.take(n)
        job = None
        if n:
            job = self._decoder.submit(source, images, crops=windows.corners, flips=windows.flips, **self._pixels)
        rendering = DeviceRendering(self, images, job)
        self._decoding.append(rendering)
        try:
            self.advance()
        except BaseException:
            rendering.cancel()  # nobody will wait for it
            raise
        return rendering

    def advance(self) -> None:
        """Send what is decoded, without waiting."""
        while self._decoding and self._decoding[0].wait(0):
            self._decoding.popleft()


class DeviceRendering:
    def __init__(self, renderer: DeviceRenderer, images: torch.Tensor, job: Job | None) -> None:
        self._renderer = renderer
        self._images: torch.Tensor | None = images  # in host memory, until it is sent
        self._job = job
        self._result: torch.Tensor | None = None
        self._ready: Any = None  # the CUDA event after which the result is there
        self._abandoned = False

    def wait(self, timeout: float) -> bool:
        if self._job is not None and not self._job.wait(timeout):
            return False
        self._send()
        return True

    def errors(self) -> list[ImageError]:
        return [] if self._job is None else self._job.errors()

    def images(self) -> torch.Tensor:
        self._send()
        assert self._result is not None
        self._renderer.lane.hand_over(self._result, self._ready)
        self._renderer.advance()  # the next one may be decoded by now
        return self._result

    def stats(self) -> JobStats:
        return JobStats(0, 0.0, 0.0) if self._job is None else self._job.stats()

    def cancel(self) -> None:
        self._abandoned = True
        if self._job is not None:
            self._job.cancel()

    def _send(self) -> None:
        images, self._images = self._images, None
        if images is not None and not self._abandoned:
            self._result = self._renderer.on_device(images, [], None)
            self._ready = self._renderer.lane.mark()
