"""The last steps of a batch, on the GPU or the host: DALI's windows are put into their places, pixels are normalised,
the memory is laid out, skipped samples are taken out.

On the host NumPy does that. torch would use OpenMP threads, which compete for the CPUs with those of the decoder and of
DALI, and which hang indefinitely in the child of a fork of a process that has used them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.decode import PixelOptions, native

if TYPE_CHECKING:
    from genimage_stream.backends.renderer import Late


class HostFinisher:
    """For batches that the core has decoded completely, to stay in host memory."""

    def __init__(self, *, channels_last: bool = False) -> None:
        self._channels_last = channels_last

    def __call__(
        self, images: torch.Tensor, places: list[int], windows: torch.Tensor | None, late: Late | None = None
    ) -> torch.Tensor:
        return channels_last(images) if self._channels_last else images

    def mark(self) -> None:
        return None

    def hand_over(self, images: torch.Tensor, ready: None) -> None:
        pass


class Finisher:
    """Batches of uint8 windows to what the loader hands over: `pixels`, on the lane's device."""

    def __init__(self, pixels: PixelOptions, lane: Lane, *, channels_last: bool = False) -> None:
        self._lane = lane
        self._channels_last = channels_last
        self._normalise = Normaliser(pixels, lane.device)
        self.mark = lane.mark
        self.hand_over = lane.hand_over

    def __call__(
        self, images: torch.Tensor, places: list[int], windows: torch.Tensor | None, late: Late | None = None
    ) -> torch.Tensor:
        """`images` uint8 (n, 3, h, w) in host memory, `windows` (k, 3, h, w) where DALI left them, for `places`; `late`
        are steps on the normalised values of each."""
        with self._lane.entered():
            moved = self._lane.send(images)
            if windows is not None:
                self._lane.place(moved, places, windows)
            finished = self._normalise(moved)
            if late is not None:
                put_late(finished, late, self._lane.send)
            return channels_last(finished) if self._channels_last else finished


def put_late(images: torch.Tensor, late: Late, send: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Write into normalised `images` (n, 3, h, w) what the steps `late` set. The core computes it; `send` moves it to
    the images' device."""
    n, _, height, width = images.shape
    places, values = native.finished_pixels(late, images.dtype == torch.float16, width, height)
    if not len(places):
        return
    if not images.is_cuda:
        image, pixel = np.divmod(places, height * width)
        images.numpy().reshape(n, 3, -1)[image, :, pixel] = values
        return
    at = send(torch.from_numpy(places)).long()
    planes, rows, columns = images.view(n, 3, -1), at // (height * width), at % (height * width)
    planes[rows, :, columns] = send(torch.from_numpy(values)) if values.any() else 0


class Normaliser:
    """uint8 to the loader's output by the table that the C++ core uses: bit-equal to it."""

    def __init__(self, pixels: PixelOptions, device: torch.device) -> None:
        self._table: torch.Tensor | None = None
        if pixels.output != "uint8":
            values = np.arange(256, dtype=np.float64)[None, :] / 255
            values = (values - np.array(pixels.mean or (0, 0, 0))[:, None]) / np.array(pixels.std or (1, 1, 1))[:, None]
            table = values.astype(np.float32).astype(np.dtype(pixels.output))
            self._table = torch.from_numpy(table).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if self._table is None:
            return images
        if not images.is_cuda:
            return torch.from_numpy(look_up(self._table.numpy(), images.numpy()))
        out = torch.empty(images.shape, dtype=self._table.dtype, device=images.device)
        for c in range(3):
            out[:, c] = self._table[c][images[:, c].long()]
        return out


def look_up(table: npt.NDArray[Any], pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """`table[c][pixels[:, c]]`: `table` (3, 256), `pixels` (n, 3, height, width)."""
    out = np.empty(pixels.shape, table.dtype)
    for image, to in zip(pixels, out, strict=True):
        for c in range(3):  # a plane at a time, so that the wide indices that NumPy makes of it stay in the cache
            np.take(table[c], image[c], out=to[c], mode="clip")
    return out


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """The same (n, 3, height, width) with the channels next to each other in memory."""
    if images.is_cuda:
        return images.to(memory_format=torch.channels_last)
    return torch.from_numpy(np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)


def kept(images: torch.Tensor, keep: npt.NDArray[np.bool_]) -> torch.Tensor:
    """The images (n, 3, height, width) for which `keep` (n,) holds, in the same order of memory."""
    if images.is_cuda:
        order = torch.contiguous_format if images.is_contiguous() else torch.channels_last
        return images[torch.from_numpy(keep)].contiguous(memory_format=order)
    if images.is_contiguous():
        return torch.from_numpy(images.numpy()[keep])
    return torch.from_numpy(images.permute(0, 2, 3, 1).numpy()[keep]).permute(0, 3, 1, 2)


class Lane:
    """The queue of a renderer's work on a GPU: a CUDA stream of its own, so that this work and the consumer's kernels
    do not wait for each other. On the CPU there is nothing to queue."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
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
        return (values if values.is_pinned() else values.pin_memory()).to(self.device, non_blocking=True)

    def place(self, images: torch.Tensor, places: list[int], windows: torch.Tensor) -> None:
        """Write `windows` over those of `images`."""
        if self._stream is None:
            images.numpy()[places] = windows.numpy()
            return
        images.index_copy_(0, self.send(torch.tensor(places, device="cpu")), windows)
        self._hold(windows)

    def _hold(self, memory: torch.Tensor) -> None:
        """Keep DALI's memory until what is queued now has read it: once it is free, DALI uses it again at once, on a
        stream of its own."""
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
            consumer = torch.cuda.current_stream(self.device)
            consumer.wait_event(ready)
            images.record_stream(consumer)

    def __del__(self) -> None:
        with suppress(Exception):  # at the interpreter's end CUDA may be gone
            if self._held:
                self._held[-1][0].synchronize()
