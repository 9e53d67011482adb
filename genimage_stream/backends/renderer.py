"""The base of all backends: requested bytes to batches of images. The threads of the C++ core decode all of a batch, or
what another decoder leaves to them; a finisher then makes of it what the loader hands over."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from genimage_stream.decode import BatchDecoder, FileRanges, ImageError, JobStats, PixelOptions, PlannedSteps

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.decode import Job, PartialBytes, native
    from genimage_stream.order.windows import Windows


#: Of each picture of a batch the steps that act on normalised values.
Late = Sequence[Sequence["native.Step"]]


class Buffers(Protocol):
    """Memory that the core decodes into."""

    def take(self, n: int, window: tuple[int, int] | None = None) -> torch.Tensor:
        """(n, 3, height, width) in host memory, contiguous, contents undefined. `window`: another (height, width)."""


class Finish(Protocol):
    """What remains to be done to a batch that the core has decoded."""

    def __call__(
        self, images: torch.Tensor, places: list[int], windows: torch.Tensor | None, late: Late | None
    ) -> torch.Tensor:
        """`images` (n, 3, height, width) in host memory; `windows` (k, 3, height, width) uint8, decoded elsewhere, are
        put into `places` first. `late`: the steps on normalised values that the core has not done."""

    def mark(self) -> Any:
        """An event after which everything begun so far is done; None: it is done already."""

    def hand_over(self, images: torch.Tensor, ready: Any) -> None:
        """Let the consumer use `images` once the event `ready` has come."""


class Renderer:
    """Batches in the order of submission. `pixels` says what the core makes of an image, `finish` what becomes of the
    batch then."""

    survives_fork = True  # whether a child of the process that has used it can make another one
    normalises = True  # whether the core makes normalised values, and does the steps that act on them
    divert = 0  # as for `BatchDecoder.submit`, for every image

    def __init__(self, decoder: BatchDecoder, buffers: Buffers, pixels: PixelOptions, finish: Finish) -> None:
        self.decoder = decoder
        self.finish = finish
        self._buffers = buffers
        self._pixels = pixels
        self._queue: deque[Rendering] = deque()  # the core works on them, or has them ready

    def submit(
        self,
        source: Sequence[Buffer | PartialBytes] | FileRanges,
        wanted: Windows | PlannedSteps,
        window: tuple[int, int] | None = None,
    ) -> Rendering:
        """Begin a batch: of each image its window, or what its steps make of it. `window`: (height, width) of these
        images, where batches have their own."""
        late: Late | None = None
        if isinstance(wanted, PlannedSteps) and not self.normalises:
            wanted, late = wanted.without_finishing()
        n = len(source)
        images = self._buffers.take(len(wanted.lists) if isinstance(wanted, PlannedSteps) else n, window)
        job = None
        if n and isinstance(wanted, PlannedSteps):
            job = self.decoder.submit(source, images, steps=wanted, mean=self._pixels.mean, std=self._pixels.std)
        elif n and not isinstance(wanted, PlannedSteps):
            job = self.decoder.submit(
                source,
                images,
                crops=wanted.corners,
                flips=wanted.flips,
                sizes=wanted.sizes,
                divert=np.full(n, self.divert, np.uint8) if self.divert else None,
                small=self._pixels.small,
                fill=self._pixels.fill,
                mean=self._pixels.mean,
                std=self._pixels.std,
            )
        rendering = self._begin(images, job, wanted)
        rendering.late = late
        self._queue.append(rendering)
        try:
            self.advance()
        except BaseException:
            rendering.cancel()  # the caller never gets it
            raise
        return rendering

    def advance(self) -> None:
        """Bring on the batches that the core has finished, in order, without waiting."""
        while self._queue and self._has_room() and self._queue[0].decoded(0):
            self._queue.popleft().proceed()

    def _begin(self, images: torch.Tensor, job: Job | None, wanted: Windows | PlannedSteps) -> Rendering:
        return Rendering(self, images, job)

    def _has_room(self) -> bool:
        return True


class Rendering:
    """A batch of n images on its way."""

    def __init__(self, renderer: Renderer, images: torch.Tensor, job: Job | None) -> None:
        self._renderer = renderer
        self._job = job
        self._images: torch.Tensor | None = images  # in host memory, until it is finished
        self._result: torch.Tensor | None = None
        self._ready: Any = None  # the event after which the result is there
        self.abandoned = False
        self.late: Late | None = None  # what the core leaves to the finisher

    def wait(self, timeout: float) -> bool:
        """Wait until it is done, at most about `timeout` seconds; whether it is."""
        if self._images is not None:
            if not self.decoded(timeout):
                return False
            self.proceed()
        if self.abandoned:
            self._renderer.advance()  # out of the queue, which would keep it and so the renderer alive
        return True

    def errors(self) -> list[ImageError]:
        """The images that failed, by index. Only when done."""
        return [] if self._job is None else self._job.errors()

    def images(self) -> torch.Tensor:
        """(n, 3, height, width) as the loader's options say. Only when done."""
        if self._result is None:
            raise RuntimeError("this batch was lost when another one failed: iterate again from the last state")
        self._renderer.finish.hand_over(self._result, self._ready)
        self._renderer.advance()  # the next one may be decoded by now
        return self._result

    def stats(self) -> JobStats:
        """Bytes read and seconds spent by the core's threads."""
        return JobStats(0, 0.0, 0.0) if self._job is None else self._job.stats()

    def cancel(self) -> None:
        """Cancel the work that has not started: the images are not needed. `wait` still tells when it is over."""
        self.abandoned = True
        if self._job is not None:
            self._job.cancel()

    # -- for the renderer ----------------------------------------------------------------------------------------------

    def decoded(self, timeout: float) -> bool:
        """Whether the core is done with it, after at most about `timeout` seconds."""
        return self._images is None or self._job is None or self._job.wait(timeout)

    def proceed(self) -> None:
        """Do what comes after the core's work; nothing when that was done before."""
        self._complete([], None)

    def _complete(self, places: list[int], windows: torch.Tensor | None) -> None:
        images, self._images = self._images, None
        if images is not None and not self.abandoned:
            self._result = self._renderer.finish(images, places, windows, self.late)
            self._ready = self._renderer.finish.mark()
