"""What turns requested bytes into a batch of images: the seam between an epoch and a backend; the CPU's side of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from genimage_stream.backends.finishing import channels_last
from genimage_stream.decode import BatchDecoder, FileRanges, ImageError, JobStats

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.decode import Job, PartialBytes
    from genimage_stream.loading.buffers import BufferPool
    from genimage_stream.order.geometry import Windows


class Rendering(Protocol):
    """A batch of n images on its way."""

    def wait(self, timeout: float) -> bool:
        """Wait until it is done, at most about `timeout` seconds; whether it is."""

    def errors(self) -> list[ImageError]:
        """The images that failed, by index. Only when done."""

    def images(self) -> torch.Tensor:
        """(n, 3, height, width) as the loader's options say. Only when done."""

    def stats(self) -> JobStats: ...

    def cancel(self) -> None:
        """Leave undone what has not begun; nobody will ask for the images. `wait` still says when it is over."""


class Renderer(Protocol):
    """A backend: decodes what it is given in the order in which it is given."""

    def submit(self, source: Sequence[Buffer | PartialBytes] | FileRanges, windows: Windows) -> Rendering:
        """Begin a batch of len(windows.flips) images."""


class CpuRenderer:
    """Decoding, cropping, mirroring and normalising by the threads of the C++ core, into host memory."""

    def __init__(
        self,
        decoder: BatchDecoder,
        buffers: BufferPool,
        rendering: dict[str, Any],
        *,
        channels_last: bool = False,
    ) -> None:
        self._decoder = decoder
        self._buffers = buffers
        self._rendering = rendering
        self._channels_last = channels_last

    def submit(self, source: Sequence[Buffer | PartialBytes] | FileRanges, windows: Windows) -> CpuRendering:
        n = len(windows.flips)
        images = self._buffers.take(n)
        job = None
        if n:
            job = self._decoder.submit(source, images, crops=windows.corners, flips=windows.flips, **self._rendering)
        return CpuRendering(images, job, self._channels_last)


class CpuRendering:
    def __init__(self, images: torch.Tensor, job: Job | None, channels_last: bool) -> None:
        self._images = images
        self._job = job
        self._channels_last = channels_last

    def wait(self, timeout: float) -> bool:
        return self._job is None or self._job.wait(timeout)

    def errors(self) -> list[ImageError]:
        return [] if self._job is None else self._job.errors()

    def images(self) -> torch.Tensor:
        return channels_last(self._images) if self._channels_last else self._images

    def stats(self) -> JobStats:
        return JobStats(0, 0.0, 0.0) if self._job is None else self._job.stats()

    def cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
