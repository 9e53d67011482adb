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
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.arguments import flag, whole
from genimage_stream.backends.finishing import Finisher, Lane
from genimage_stream.decode import BatchDecoder, FileRanges, ImageError, JobStats

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.decode import Diverted, Job, PartialBytes
    from genimage_stream.loading.buffers import BufferPool
    from genimage_stream.order.geometry import Windows

log = logging.getLogger("genimage_stream")

_OLDEST = 2  # major version of DALI: the dynamic executor of earlier ones lacks combinations that are used here
_INSTALL = 'pip install ".[dali-cuda12]" (or ".[dali-cuda13]") in the checkout of genimage-stream'
_PATIENCE = 5  # batches in a row that DALI may fail on without any image being at fault


@dataclass(frozen=True)
class DaliOptions:
    """How DALI works. `hw_decoder_load`: share of JPEGs for the GPU's hardware decoder, the rest goes to its CUDA
    kernels. `threads`: of DALI itself; 4 where there are 8 CPUs or more, else 2. `ahead`: batches that DALI works on at
    once. `check`: decode on the CPU as well, so that damage inside a JPEG's coded data, which DALI paints over, is an
    error as with `backend="cpu"`; None, by default: in DALI's CPU mode, not on a GPU, where it would cost what the GPU
    saves."""

    hw_decoder_load: float = 0.9
    threads: int = field(default_factory=lambda: 4 if len(os.sched_getaffinity(0)) >= 8 else 2)
    ahead: int = 3
    check: bool | None = None

    def __post_init__(self) -> None:
        share = self.hw_decoder_load
        if isinstance(share, bool) or not isinstance(share, (int, float, np.number)) or not 0 <= share <= 1:
            raise ValueError(f"hw_decoder_load={share!r}: a share from 0 to 1 is needed")
        object.__setattr__(self, "threads", whole("threads", self.threads, 1))
        object.__setattr__(self, "ahead", whole("ahead", self.ahead, 1))
        if self.check is not None:
            object.__setattr__(self, "check", flag("check", self.check))


def load_dali() -> Any:
    """The `nvidia.dali` package. Raises ImportError, saying what to install, when there is none or an old one, and what
    is wrong with it when it is there and does not load."""
    try:
        import nvidia.dali
        import nvidia.dali.fn
        import nvidia.dali.types
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):  # of a library that it is linked with, say
            raise ImportError(
                f'backend="dali": NVIDIA DALI is installed and cannot be loaded: {error}. backend="cpu" works without.'
            ) from error
        raise ImportError(f'backend="dali" needs NVIDIA DALI: {_INSTALL}. backend="cpu" works without it.') from error
    version = str(nvidia.dali.__version__)
    if int(version.partition(".")[0]) < _OLDEST:
        raise ImportError(
            f'backend="dali" needs NVIDIA DALI {_OLDEST}.0 or newer, not {version}: {_INSTALL}. backend="cpu" works '
            "without it."
        )
    return nvidia.dali


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The torch device of `device`. Raises ValueError for what batches cannot be on, RuntimeError for a GPU that torch
    does not see."""
    named = f"device={device!r}"
    if not isinstance(device, (str, torch.device, type(None))):
        raise ValueError(f'{named}: a name is needed, "cpu", "cuda" or, of several GPUs, "cuda:1"')
    try:
        found = torch.device(device if device is not None else "cpu")
    except RuntimeError:
        raise ValueError(f'{named} is no device of torch: "cpu", "cuda" or, of several GPUs, "cuda:1"') from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"{named}: batches can be on the CPU or on a CUDA device")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"{named}: torch sees no CUDA device. Install a CUDA build of torch and a driver, or leave "
                'device out: backend="cpu" (and backend="dali" in its CPU mode) work without a GPU.'
            )
        if found.index is None:
            found = torch.device("cuda", torch.cuda.current_device())
        if found.index >= (count := torch.cuda.device_count()):
            raise RuntimeError(f"{named}: there is no such GPU, torch sees {count}, the last is cuda:{count - 1}")
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
        self.lane = Lane(device)
        self._in_vain = 0  # batches in a row that DALI failed on and the CPU found nothing wrong with
        self._dali = load_dali()
        self._buffers = buffers
        self._window = window
        self._batch_size = batch_size
        # 2: the core decodes what it leaves to DALI as well, and so finds damage inside it.
        check = device.type == "cpu" if options.check is None else options.check
        self._divert = 2 if check else 1
        self._pixels = {name: rendering[name] for name in ("small", "fill") if name in rendering}
        mean, std = rendering.get("mean"), rendering.get("std")
        self.on_device = Finisher(output, mean, std, lane=self.lane, channels_last=channels_last)
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
                divert=np.full(n, self._divert, np.uint8),
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
                affine=False,  # CPUs are found by NVML, which in a virtual machine may know none, and DALI gives up
                **hardware,
            )
            pixels = fn.slice(pixels, start=corner, shape=[height, width], axes=(0, 1))
            return fn.transpose(fn.flip(pixels, horizontal=mirrored), perm=[2, 0, 1])

        return pipeline()

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
        images.numpy()[[one.index for one in diverted]] = windows.numpy()
        return [ImageError(diverted[error.index].index, error.kind, error.message) for error in errors]


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
