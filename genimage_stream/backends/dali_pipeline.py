"""DALI's part of a batch: encoded JPEGs in, windows on the device out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.backends.dali_options import DaliOptions, load_dali
from genimage_stream.backends.finishing import Lane


@dataclass(frozen=True)
class Inputs:
    """One iteration of the pipeline: encoded JPEGs, the windows' corners (y, x) in them, 1 for those to mirror."""

    data: list[npt.NDArray[np.uint8]]
    corners: npt.NDArray[np.int32]  # (n, 2)
    flips: npt.NDArray[np.int32]  # (n,)


class DaliPipeline:
    """Windows of `window` = (height, width), uint8 (n, 3, height, width) on `device`, in the order of scheduling.

    DALI keeps no state of ours: it asks for its inputs by iteration number. It is built for the first iteration, and
    again for the first one after `reset`.
    """

    def __init__(self, window: tuple[int, int], batch_size: int, device: torch.device, options: DaliOptions) -> None:
        self._dali = load_dali()
        self._window = window
        self._batch_size = batch_size
        self._device = device
        self._options = options
        self.reset()

    def reset(self) -> None:
        """Discard the pipeline with all that was scheduled."""
        self._pipeline: Any = None
        self._inputs: dict[int, Inputs] = {}
        self._iteration = 0

    def schedule(self, inputs: Inputs) -> None:
        """Begin an iteration."""
        if self._pipeline is None:
            self._pipeline = self.define()
            self._pipeline.build()
        self._inputs[self._iteration] = inputs
        self._iteration += 1
        self._pipeline.schedule_run()

    def take(self, lane: Lane) -> torch.Tensor:
        """Wait for the oldest iteration. Raises whatever DALI's operators raise; then it has to be reset."""
        with lane.entered():
            (windows,) = self._pipeline.share_outputs(**lane.options())
            # A view of DALI's memory, which no later batch is written to as long as the view lives.
            found: torch.Tensor = torch.utils.dlpack.from_dlpack(windows.as_tensor())
            self._pipeline.release_outputs()
        return found

    def define(self) -> Any:
        """The pipeline, not built yet: for that, the device has to be there."""
        dali, fn = self._dali, self._dali.fn
        inputs = self._inputs
        on_gpu = self._device.type == "cuda"
        height, width = self._window

        def take(info: Any) -> tuple[Any, ...]:
            given = inputs.pop(info.iteration)
            return given.data, given.corners, given.flips

        @dali.pipeline_def(  # type: ignore[untyped-decorator, unused-ignore]
            batch_size=self._batch_size,
            num_threads=self._options.threads,
            device_id=self._device.index if on_gpu else None,
            prefetch_queue_depth=self._options.ahead,
            exec_pipelined=False,  # nothing runs before its input is there: iterations are scheduled one by one
            exec_dynamic=True,
        )
        def pipeline() -> Any:
            encoded, corner, mirrored = fn.external_source(source=take, num_outputs=3, batch=True, batch_info=True)
            hardware = {"hw_decoder_load": self._options.hw_decoder_load} if on_gpu else {}
            # Whole images, sliced afterwards: with fancy upsampling nvJPEG before 13.2 decodes the outermost pixels of
            # a region wrongly, and from crop-ready shards the images are cut to the region already.
            pixels = fn.decoders.image(
                encoded,
                device="mixed" if on_gpu else "cpu",
                output_type=dali.types.RGB,
                jpeg_fancy_upsampling=True,  # as libjpeg-turbo does; the default differs, and only reals are JPEGs
                use_fast_idct=False,
                adjust_orientation=False,
                affine=False,  # DALI asks NVML for CPUs, which in a virtual machine may know none, and gives up
                **hardware,
            )
            pixels = fn.slice(pixels, start=corner, shape=[height, width], axes=(0, 1))
            return fn.transpose(fn.flip(pixels, horizontal=mirrored), perm=[2, 0, 1])

        return pipeline()
