"""The DALI backend: JPEGs to the GPU's decoder, everything else to the C++ core, one batch on the device.

The core's threads read every image. A JPEG that hardware takes comes back as bytes, cut down to the window when the
shards are crop-ready; the rest is decoded at once, window only, into a (pinned) uint8 batch. That batch goes to the
device, DALI's windows are written over the places of their images, and normalisation happens there, by the same table
as on the CPU: only the JPEG decoder itself can make a difference to `backend="cpu"` (see `fidelity.py`).
All of that is queued on a CUDA stream of the renderer's own; the consumer's stream waits for a batch when it takes it.

The loader's `state_dict` is the checkpoint: what DALI is given follows from the plan, and a pipeline that broke down is
replaced by a new one.

Without a GPU (`device` None or "cpu") DALI decodes on the CPU, by libjpeg-turbo, and the pixels are the same.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.backends.dali_options import DaliOptions
from genimage_stream.backends.dali_pipeline import DaliPipeline, Inputs
from genimage_stream.backends.finishing import Finisher, Lane
from genimage_stream.backends.renderer import Buffers, Renderer, Rendering
from genimage_stream.decode import BatchDecoder, ImageError, PixelOptions, PlannedSteps
from genimage_stream.order.windows import Windows

if TYPE_CHECKING:
    from genimage_stream.decode import Diverted, Job

log = logging.getLogger("genimage_stream")

_PATIENCE = 5  # batches in a row that DALI may fail on without any image being at fault


def divert_code(options: DaliOptions, device: torch.device) -> int:
    """How the core leaves a JPEG to DALI: 2 decodes it as well, which finds damage inside it; 1 does not."""
    check = device.type == "cpu" if options.check is None else options.check
    return 2 if check else 1


class DaliRenderer(Renderer):
    """`buffers` gives uint8 batches; `pixels` are those of the batches handed over, windows of (height, width)."""

    survives_fork = False

    def __init__(
        self,
        decoder: BatchDecoder,
        buffers: Buffers,
        pixels: PixelOptions,
        *,
        window: tuple[int, int],
        batch_size: int,
        device: torch.device,
        options: DaliOptions,
        channels_last: bool = False,
    ) -> None:
        self._lane = Lane(device)
        super().__init__(decoder, buffers, pixels.as_bytes(), Finisher(pixels, self._lane, channels_last=channels_last))
        self.divert = divert_code(options, device)
        self._pipeline = DaliPipeline(window, batch_size, device, options)
        self._ahead = options.ahead
        self._in_vain = 0  # batches in a row that DALI failed on and the CPU found nothing wrong with
        self._scheduled: deque[DaliRendering] = deque()  # with DALI

    def _begin(self, images: torch.Tensor, job: Job | None, wanted: Windows | PlannedSteps) -> DaliRendering:
        assert isinstance(wanted, Windows)  # the loader gives it no steps
        return DaliRendering(self, images, job, wanted.flips)

    def _has_room(self) -> bool:
        return len(self._scheduled) < self._ahead

    # -- for its renderings --------------------------------------------------------------------------------------------

    def schedule(self, rendering: DaliRendering) -> None:
        """Give DALI what the core left to it."""
        with self._or_give_up():
            self._pipeline.schedule(rendering.inputs())
        self._scheduled.append(rendering)

    def progress(self, timeout: float) -> bool:
        """Bring the oldest batch a step further. False: the core was still at it after `timeout` seconds."""
        self.advance()
        if self._scheduled:
            if timeout > 0:
                with self._or_give_up():
                    self._take_oldest()
            return True
        return bool(self._queue) and self._queue[0].decoded(timeout)

    def knows(self, rendering: DaliRendering) -> bool:
        """Whether anything will still be done about it."""
        return rendering in self._queue or rendering in self._scheduled

    # -- DALI's queue --------------------------------------------------------------------------------------------------

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """After an exception, e.g. Ctrl-C, it is unknown what DALI has: its batches and their epochs are lost."""
        try:
            yield
        except BaseException:
            self._start_anew()
            raise

    def _start_anew(self) -> list[DaliRendering]:
        """Discard the pipeline; the next batch makes a new one. Returns the batches that it had."""
        had = list(self._scheduled)
        self._scheduled.clear()
        self._pipeline.reset()
        return had

    def _take_oldest(self) -> None:
        """Wait for the batch that DALI has had longest and give it its windows."""
        try:
            windows = self._pipeline.take(self._lane)
        except Exception as error:  # DALI's operators raise what they like
            self._recover(error)
            return
        self._in_vain = 0
        self._scheduled.popleft().complete(windows)

    def _recover(self, error: Exception) -> None:
        """DALI gave up on a batch, and with it the pipeline: the CPU decodes that batch, DALI the others anew."""
        first, *others = self._start_anew()
        log.warning("DALI did not decode a batch; its images are decoded by the CPU. DALI said: %s", error)
        blamed = first.decode_on_cpu()
        self._in_vain = 0 if blamed else self._in_vain + 1
        if self._in_vain >= _PATIENCE:
            raise RuntimeError(
                f"DALI failed on {self._in_vain} batches in a row that the CPU decoded without an error, so it is not "
                f'the images. backend="cpu" goes on working. DALI said: {error}'
            ) from error
        for rendering in others:
            self.schedule(rendering)


class DaliRendering(Rendering):
    """A batch on its way through the core and DALI."""

    def __init__(
        self, renderer: DaliRenderer, images: torch.Tensor, job: Job | None, flips: npt.NDArray[np.uint8]
    ) -> None:
        super().__init__(renderer, images, job)
        self._dali = renderer
        self._flips = flips
        self._errors: list[ImageError] = []
        self._diverted: list[Diverted] = []

    def wait(self, timeout: float) -> bool:
        while self._images is not None and self._dali.progress(timeout) and timeout > 0:
            pass
        return self._images is None or not self._dali.knows(self)

    def errors(self) -> list[ImageError]:
        return self._errors

    # -- for the renderer ----------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        if self._job is not None and not self.abandoned:
            self._errors = self._job.errors()
            self._diverted = self._job.diverted()
        if self._diverted:
            self._dali.schedule(self)
        else:
            self.complete(None)

    def inputs(self) -> Inputs:
        """What DALI is to decode."""
        diverted = self._diverted
        return Inputs(
            [one.data for one in diverted],
            np.array([(one.y, one.x) for one in diverted], np.int32),
            self._flips[[one.index for one in diverted]].astype(np.int32),
        )

    def complete(self, windows: torch.Tensor | None) -> None:
        """Make the batch of the core's images and DALI's windows."""
        self._complete([one.index for one in self._diverted], windows)
        self._diverted = []  # frees the encoded bytes

    def decode_on_cpu(self) -> bool:
        """Complete the batch without DALI. Whether an image is to blame, as far as anybody still asks."""
        if self.abandoned or self._images is None:
            self.complete(None)
            return True
        diverted = self._diverted
        windows = torch.empty((len(diverted), *self._images.shape[1:]), dtype=torch.uint8, device="cpu")
        errors = self._dali.decoder.decode_batch(
            [one.data.data for one in diverted],
            windows,
            crops=np.array([[one.x, one.y] for one in diverted], np.int32),
            flips=np.array([self._flips[one.index] for one in diverted], np.uint8),
        )
        self._images.numpy()[[one.index for one in diverted]] = windows.numpy()
        found = [ImageError(diverted[error.index].index, error.kind, error.message) for error in errors]
        self._errors = sorted([*self._errors, *found], key=lambda error: error.index)
        self.complete(None)
        return bool(found)
