"""The DALI backend: JPEGs to the GPU's decoder, everything else to the C++ core, one batch on the device.

The core's threads read every image. A JPEG that hardware takes comes back as bytes, cut down to the window when the
shards are crop-ready; the rest is decoded at once, window only, into a (pinned) uint8 batch. That batch goes to the
device, DALI's windows are written over the places of their images, and normalisation happens there, by the same table
as on the CPU: only the JPEG decoder itself can make a difference to `backend="cpu"` (see `fidelity_report.py`).
All of that is queued on a CUDA stream of the renderer's own; the consumer's stream waits for a batch when it takes it.

DALI keeps no state of ours: it asks for its inputs by iteration number, and what those are follows from the plan. So
the loader's `state_dict` is the checkpoint, and a pipeline that broke down is replaced by a new one.

Without a GPU (`device` None or "cpu") DALI decodes on the CPU, by libjpeg-turbo, and the pixels are the same.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.decode import BatchDecoder, FileRanges, ImageError, JobStats

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.buffers import BufferPool
    from genimage_stream.decode import Diverted, Job, PartialBytes
    from genimage_stream.geometry import Windows

log = logging.getLogger("genimage_stream")

_PATIENCE = 5  # batches in a row that DALI may fail on without any image being at fault


@dataclass(frozen=True)
class DaliOptions:
    """How DALI works. `hw_decoder_load`: share of JPEGs for the GPU's hardware decoder, the rest goes to its CUDA
    kernels. `threads`: of DALI itself. `ahead`: batches that DALI works on at once."""

    hw_decoder_load: float = 0.9
    threads: int = 2
    ahead: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.hw_decoder_load <= 1:
            raise ValueError(f"hw_decoder_load={self.hw_decoder_load}: a share from 0 to 1 is needed")
        for name, value in (("threads", self.threads), ("ahead", self.ahead)):
            if value < 1:
                raise ValueError(f"{name}={value}: at least 1 is needed")


def load_dali() -> Any:
    """The `nvidia.dali` package. Raises ImportError, saying what to install, when there is none."""
    try:
        import nvidia.dali
        import nvidia.dali.fn
        import nvidia.dali.types
    except ImportError as error:
        raise ImportError(
            'backend="dali" needs NVIDIA DALI: pip install "genimage-stream[dali-cuda12]" (or [dali-cuda13]). '
            'backend="cpu" works without it.'
        ) from error
    return nvidia.dali


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The torch device of `device`. Raises RuntimeError when it is a GPU and there is none."""
    found = torch.device(device if device is not None else "cpu")
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device!r}: batches can be on the CPU or on a CUDA device")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"device={device!r}: torch sees no CUDA device. Install a CUDA build of torch and a driver, or leave "
                'device out: backend="cpu" (and backend="dali" in its CPU mode) work without a GPU.'
            )
        if found.index is None:
            found = torch.device("cuda", torch.cuda.current_device())
    return found


class DaliRenderer:
    """Batches in the order of submission. `window` is (height, width); `rendering`, what `BatchDecoder.submit` takes
    beyond crops and flips; `buffers` gives uint8 batches; `output` is the type of the batches handed over."""

    def __init__(
        self,
        decoder: BatchDecoder,
        buffers: BufferPool,
        rendering: dict[str, Any],
        *,
        window: tuple[int, int],
        batch_size: int,
        output: str,
        device: torch.device,
        options: DaliOptions,
        channels_last: bool = False,
    ) -> None:
        self.decoder = decoder
        self.device = device
        self.options = options
        self.lane = _Lane(device)
        self._in_vain = 0  # batches in a row that DALI failed on and the CPU found nothing wrong with
        self._dali = load_dali()
        self._buffers = buffers
        self._window = window
        self._batch_size = batch_size
        self._channels_last = channels_last
        self._pixels = {name: rendering[name] for name in ("small", "fill") if name in rendering}
        self._normalise = _Normaliser(output, rendering.get("mean"), rendering.get("std"), device)
        self._jobs: deque[DaliRendering] = deque()  # decoded by the core, or about to be; not yet with DALI
        self._scheduled: deque[DaliRendering] = deque()  # with DALI
        self._inputs: dict[int, _Inputs] = {}
        self._iteration = 0
        self._pipeline: Any = None

    def submit(self, source: Sequence[Buffer | PartialBytes] | FileRanges, windows: Windows) -> DaliRendering:
        n = len(windows.flips)
        images = self._buffers.take(n)
        job = None
        if n:
            job = self.decoder.submit(
                source,
                images,
                crops=windows.corners,
                flips=windows.flips,
                divert=np.ones(n, np.uint8),
                **self._pixels,
            )
        rendering = DaliRendering(self, images, job, windows.flips)
        self._jobs.append(rendering)
        try:
            self.advance()
        except BaseException:
            rendering.cancel()  # nobody will wait for it
            raise
        return rendering

    # -- DALI's queue --------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Hand to DALI what the core has finished, in order, without waiting."""
        while self._jobs and self._jobs[0].decoded(0) and len(self._scheduled) < self.options.ahead:
            rendering = self._jobs.popleft()
            if rendering.abandoned:
                rendering.finish(None)
                continue
            rendering.collect()
            if not rendering.diverted:
                rendering.finish(None)
                continue
            with self._or_give_up():
                self._schedule(rendering)
            self._scheduled.append(rendering)

    def progress(self, timeout: float) -> bool:
        """Bring the oldest batch a step further. False: the core was still at it after `timeout` seconds."""
        self.advance()
        if self._scheduled:
            if timeout > 0:
                with self._or_give_up():
                    self._take_oldest()
            return True
        return bool(self._jobs) and self._jobs[0].decoded(timeout)

    def knows(self, rendering: DaliRendering) -> bool:
        """Whether anything will still be done about it."""
        return rendering in self._jobs or rendering in self._scheduled

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """After an exception, Ctrl-C too, nobody knows what DALI has: its batches are lost, and so are their epochs."""
        try:
            yield
        except BaseException:
            self._start_anew()
            raise

    def _start_anew(self) -> list[DaliRendering]:
        """Part with the pipeline; the next batch makes a new one. Returns the batches that it had."""
        had = list(self._scheduled)
        self._scheduled.clear()
        self._pipeline = None
        self._inputs = {}
        return had

    def _take_oldest(self) -> None:
        """Wait for the batch that DALI has had longest and give it its windows."""
        try:
            with self.lane.entered():
                (windows,) = self._pipeline.share_outputs(**self.lane.options())
                # A view of DALI's memory, which no later batch is written to as long as the view lives.
                found = torch.utils.dlpack.from_dlpack(windows.as_tensor())
                self._pipeline.release_outputs()
        except Exception as error:  # DALI's operators raise what they like
            self._recover(error)
            return
        self._in_vain = 0
        self._scheduled.popleft().finish(found)

    def _recover(self, error: Exception) -> None:
        """DALI gave up on a batch, and with it the pipeline: the CPU decodes that batch, DALI the others anew."""
        first, *others = self._start_anew()
        log.warning("DALI did not decode a batch; its images are decoded by the CPU. DALI said: %s", error)
        blamed = first.decode_on_cpu()
        self._in_vain = 0 if blamed else self._in_vain + 1
        if self._in_vain >= _PATIENCE:
            raise RuntimeError(
                f"DALI failed on {self._in_vain} batches in a row that the CPU decoded without complaint, so it is not "
                f'the images. backend="cpu" goes on working. DALI said: {error}'
            ) from error
        for rendering in others:
            self._schedule(rendering)
            self._scheduled.append(rendering)

    def _schedule(self, rendering: DaliRendering) -> None:
        if self._pipeline is None:
            self._pipeline = self.define()
            self._pipeline.build()
            self._iteration = 0
        diverted = rendering.diverted
        self._inputs[self._iteration] = _Inputs(
            [one.data for one in diverted],
            np.array([(one.y, one.x) for one in diverted], np.int32),
            rendering.flips[[one.index for one in diverted]].astype(np.int32),
        )
        self._iteration += 1
        self._pipeline.schedule_run()

    def define(self) -> Any:
        """The pipeline, not built yet: for that, the device has to be there."""
        dali, fn = self._dali, self._dali.fn
        inputs = self._inputs
        on_gpu = self.device.type == "cuda"
        height, width = self._window

        def take(info: Any) -> tuple[Any, ...]:
            given = inputs.pop(info.iteration)
            return given.data, given.corners, given.flips

        @dali.pipeline_def(  # type: ignore[untyped-decorator, unused-ignore]
            batch_size=self._batch_size,
            num_threads=self.options.threads,
            device_id=self.device.index if on_gpu else None,
            prefetch_queue_depth=self.options.ahead,
            exec_pipelined=False,  # nothing runs before its input is there: iterations are scheduled one by one
            exec_dynamic=True,
        )
        def pipeline() -> Any:
            encoded, corner, mirrored = fn.external_source(source=take, num_outputs=3, batch=True, batch_info=True)
            hardware = {"hw_decoder_load": self.options.hw_decoder_load} if on_gpu else {}
            # Whole images, sliced afterwards: with fancy upsampling nvJPEG before 13.2 decodes the outermost pixels of
            # a region wrongly, and from crop-ready shards the images are cut to the region already.
            pixels = fn.decoders.image(
                encoded,
                device="mixed" if on_gpu else "cpu",
                output_type=dali.types.RGB,
                jpeg_fancy_upsampling=True,  # as libjpeg-turbo does; the default differs, and only reals are JPEGs
                use_fast_idct=False,
                adjust_orientation=False,
                **hardware,
            )
            pixels = fn.slice(pixels, start=corner, shape=[height, width], axes=(0, 1))
            return fn.transpose(fn.flip(pixels, horizontal=mirrored), perm=[2, 0, 1])

        return pipeline()

    def on_device(self, images: torch.Tensor, places: list[int], windows: torch.Tensor | None) -> torch.Tensor:
        """The finished batch: `images` uint8 (n, 3, h, w) from the core, `windows` (k, 3, h, w) written to `places`."""
        with self.lane.entered():
            moved = self.lane.send(images)
            if windows is not None:
                moved.index_copy_(0, self.lane.send(torch.tensor(places)), windows)
                self.lane.hold(windows)
            finished = self._normalise(moved)
            return finished.to(memory_format=torch.channels_last) if self._channels_last else finished

    def again_on_cpu(self, rendering: DaliRendering, images: torch.Tensor) -> list[ImageError]:
        """Decode the diverted images of a batch by the core, into their places in `images`."""
        diverted = rendering.diverted
        windows = torch.empty((len(diverted), *images.shape[1:]), dtype=torch.uint8)
        errors = self.decoder.decode_batch(
            [one.data.data for one in diverted],
            windows,
            crops=np.array([[one.x, one.y] for one in diverted], np.int32),
            flips=np.array([rendering.flips[one.index] for one in diverted], np.uint8),
        )
        images[torch.tensor([one.index for one in diverted])] = windows
        return [ImageError(diverted[error.index].index, error.kind, error.message) for error in errors]


class _Lane:
    """Where the renderer's work on a GPU is queued: a CUDA stream of its own, so that it waits for no kernel of the
    consumer's and none of those for it. On the CPU there is nothing to queue."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._held: deque[tuple[Any, torch.Tensor]] = deque()  # with the CUDA event after which it is free

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Work within is queued here, whatever the current device and stream are."""
        with torch.cuda.stream(self._stream):  # of None: no change
            yield

    def options(self) -> dict[str, Any]:
        """For DALI's `share_outputs`: the outputs are bound to the lane, and the host does not wait for them."""
        return {} if self._stream is None else {"cuda_stream": self._stream}

    def send(self, values: torch.Tensor) -> torch.Tensor:
        """`values` on the device. Page-locked memory is copied in the background; torch, which made it, knows when the
        copy is done and gives it to nobody else before."""
        if self._stream is None:
            return values
        return (values if values.is_pinned() else values.pin_memory()).to(self._device, non_blocking=True)

    def hold(self, memory: torch.Tensor) -> None:
        """Keep DALI's memory until what is queued now has read it: DALI, told that it is free, would use it again at
        once, on a stream of its own."""
        if self._stream is None:
            return
        while self._held and self._held[0][0].query():
            self._held.popleft()
        self._held.append((self.mark(), memory))

    def mark(self) -> Any:
        """A CUDA event after what is queued now."""
        return None if self._stream is None else self._stream.record_event()

    def hand_over(self, images: torch.Tensor, ready: Any) -> None:
        """Let the caller's current stream use `images` once `ready` has come, and their memory not be used again before
        that stream is done with it."""
        if ready is not None:
            consumer = torch.cuda.current_stream(self._device)
            consumer.wait_event(ready)
            images.record_stream(consumer)

    def __del__(self) -> None:
        with suppress(Exception):  # at the interpreter's end CUDA may be gone
            if self._held:
                self._held[-1][0].synchronize()


@dataclass(frozen=True)
class _Inputs:
    """One iteration of the pipeline: encoded JPEGs, the windows' corners (y, x) in them, 1 for those to mirror."""

    data: list[npt.NDArray[np.uint8]]
    corners: npt.NDArray[np.int32]  # (n, 2)
    flips: npt.NDArray[np.int32]  # (n,)


class DaliRendering:
    def __init__(
        self, renderer: DaliRenderer, images: torch.Tensor, job: Job | None, flips: npt.NDArray[np.uint8]
    ) -> None:
        self._renderer = renderer
        self._images = images
        self._job = job
        self._errors: list[ImageError] = []
        self._result: torch.Tensor | None = None
        self._ready: Any = None  # the CUDA event after which the result is there
        self._finished = False
        self.flips = flips
        self.diverted: list[Diverted] = []
        self.abandoned = False

    # -- for the epoch -------------------------------------------------------------------------------------------------

    def wait(self, timeout: float) -> bool:
        while not self._finished and self._renderer.progress(timeout) and timeout > 0:
            pass
        return self._finished or not self._renderer.knows(self)

    def errors(self) -> list[ImageError]:
        return self._errors

    def images(self) -> torch.Tensor:
        if self._result is None:
            raise RuntimeError("this batch was lost when DALI failed on another one; iterate anew from the last state")
        self._renderer.lane.hand_over(self._result, self._ready)
        return self._result

    def stats(self) -> JobStats:
        return JobStats(0, 0.0, 0.0) if self._job is None else self._job.stats()

    def cancel(self) -> None:
        self.abandoned = True
        if self._job is not None:
            self._job.cancel()

    # -- for the renderer ----------------------------------------------------------------------------------------------

    def decoded(self, timeout: float) -> bool:
        return self._job is None or self._job.wait(timeout)

    def collect(self) -> None:
        """Ask the finished job what it left to DALI."""
        if self._job is not None:
            self._errors = self._job.errors()
            self.diverted = self._job.diverted()

    def finish(self, windows: torch.Tensor | None) -> None:
        if not self.abandoned:
            self._result = self._renderer.on_device(self._images, [one.index for one in self.diverted], windows)
            self._ready = self._renderer.lane.mark()
        self._finished = True
        self.diverted = []  # frees the encoded bytes

    def decode_on_cpu(self) -> bool:
        """Finish without DALI. Whether the CPU found an image that is to blame, as far as anybody still asks."""
        if self.abandoned:
            self.finish(None)
            return True
        found = self._renderer.again_on_cpu(self, self._images)
        self._errors = sorted([*self._errors, *found], key=lambda error: error.index)
        self.finish(None)
        return bool(found)


class _Normaliser:
    """uint8 to the loader's output, on the device, by the table that the C++ core uses: bit-equal to it."""

    def __init__(
        self, output: str, mean: Sequence[float] | None, std: Sequence[float] | None, device: torch.device
    ) -> None:
        self._table: torch.Tensor | None = None
        if output != "uint8":
            values = np.arange(256, dtype=np.float64)[None, :] / 255
            values = (values - np.array(mean or (0, 0, 0))[:, None]) / np.array(std or (1, 1, 1))[:, None]
            table = values.astype(np.float32).astype(np.dtype(output))
            self._table = torch.from_numpy(table).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if self._table is None:
            return images
        out = torch.empty(images.shape, dtype=self._table.dtype, device=images.device)
        for c in range(3):
            out[:, c] = self._table[c][images[:, c].long()]
        return out
