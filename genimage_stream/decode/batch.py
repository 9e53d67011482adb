"""Many images into one array, on C++ threads: `BatchDecoder`, its jobs, and the byte ranges of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, explains_unknown, flag, one_of, whole
from genimage_stream.decode import _core
from genimage_stream.decode.arrays import column, describe
from genimage_stream.decode.checks import thread_count
from genimage_stream.decode.image import DEFAULT_LIMITS, Limits, need_limits
from genimage_stream.decode.other_formats import decode_for_batch
from genimage_stream.decode.pixels import OUTPUTS, SMALL, PixelOptions, Small
from genimage_stream.decode.planned import PlannedSteps
from genimage_stream.resources import cores

if TYPE_CHECKING:
    from typing_extensions import Buffer

Resample = Literal["bilinear", "bicubic"]
ErrorKind = Literal["decode", "io", "cancelled"]

_RESAMPLE = ("bilinear", "bicubic")  # in the order of the enum in cpp/rows/resample.hpp


class FileSet:
    """Files that ranges are read from. They are opened when first needed and at most `max_open` stay open.

    `max_open` None: as many as fit into half of the process's limit on open files, which is raised towards its hard
    limit when there are more files than that. Thread-safe; a file that cannot be opened is an "io" error of the images
    in it, not of the set.

    `versions`: (inode, time of modification in ns, size in bytes) of each file, inode -1 for one that is missing. An
    image whose file has become another one is then an "io" error.
    """

    def __init__(
        self,
        paths: Sequence[str | bytes | os.PathLike[str] | os.PathLike[bytes]],
        *,
        max_open: int | None = None,
        versions: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        if isinstance(paths, str | bytes | os.PathLike):  # whose letters would be taken for files
            raise WrongKindError(f"paths must be a list of paths: gs.FileSet([{paths!r}])")
        most = 0 if max_open is None else whole("max_open", max_open, 1, highest=(1 << 31) - 1)
        self._core = _core.FileSet([os.fsdecode(path) for path in paths], most, list(versions))

    def __len__(self) -> int:
        return len(self._core)

    def path(self, file: int) -> Path:
        """The path of a file by its place in the set. Raises IndexError for a place that there is not."""
        return Path(self._core.path(file))

    @property
    def max_open(self) -> int:
        """How many of the files may be open at once."""
        return self._core.max_open


@dataclass(frozen=True)
class FileRanges:
    """Where the encoded bytes of n images lie: file `file_index[i]` of `files`, `size[i]` bytes from `offset[i]`.

    `file_index` int32 (n,), `offset` and `size` int64 (n,). `names`, for files that are tars: how the name of each
    image in its tar begins, empty where that is not known. The header before the image is then read with it, and one
    of another name or size is an "io" error.
    """

    files: FileSet
    file_index: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    names: Sequence[bytes] | None = None

    def __len__(self) -> int:
        return len(self.file_index)


class PartialBytes(NamedTuple):
    """A crop-ready PNG of `size` bytes of which only some are there: the first, `head`, and `body` from byte `at` on.

    `whole()` gets all of it, bytes-like; it is called, from a thread of the decoder, when the parts are not enough:
    when they do not hold what the window needs, or are not what the file's own table says. An OSError of it becomes
    the image's "io" error. Which bytes a window needs: `genimage_stream.storage.segments`.
    """

    size: int
    head: Buffer
    body: Buffer
    at: int
    whole: Callable[[], Buffer]


@dataclass(frozen=True)
class ImageError:
    """What went wrong with image `index` of a job: its bytes ("decode"), reading them ("io"), or nobody decoded it
    because the job was cancelled ("cancelled"). `errno`: the system's number of an "io" error; 0: it gave none."""

    index: int
    kind: ErrorKind
    message: str
    errno: int = 0


@dataclass(frozen=True)
class JobStats:
    """`bytes_read` from files (0 for images in memory); the seconds are summed over the threads."""

    bytes_read: int
    read_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Diverted:
    """Image `index` of a job, for another decoder: `data` uint8 (size,), a whole JPEG file, in which the window lies at
    the pixel (x, y). Nothing is mirrored yet. The image's place in the job's output was touched only by `divert` 2."""

    index: int
    data: npt.NDArray[np.uint8]
    x: int
    y: int


class Job:
    """A batch that is being decoded. It holds its source and its output until it is done."""

    def __init__(self, core: _core.Job) -> None:
        self._core = core

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until the job is done, at most `timeout` seconds. False: it is not done yet.

        Ctrl-C is answered within a tenth of a second. Raises RuntimeError in the child of a fork when the job was
        submitted by the parent: its threads stayed there.
        """
        return self._core.wait(timeout)

    def done(self) -> bool:
        """Whether every image is finished, failed or cancelled; returns at once."""
        return self._core.done()

    def cancel(self) -> None:
        """Cancel the images that have not started: they are listed in `errors()` and their place is not touched."""
        self._core.cancel()

    def errors(self) -> list[ImageError]:
        """The images that failed so far, by index. An image that failed has zeros in its place."""
        return [ImageError(*one) for one in self._core.errors()]  # type: ignore[arg-type]

    def diverted(self) -> list[Diverted]:
        """The images that were left to another decoder (see `divert` of `submit`), by index, once the job is done."""
        return [Diverted(*one) for one in self._core.diverted()]

    def stats(self) -> JobStats:
        """What the job has read and how long it took so far, summed over threads."""
        return JobStats(*self._core.stats())


#: What to write in place of arguments that `submit` does not have.
_INSTEAD = {
    "normalize": "write mean= and std=, three numbers each",
    "crop": "write crops=, the upper left corner of each image's window, which is as large as out",
    "flip": "write flips=, 0 or 1 for each image",
    "box": "write boxes=, one for each image",
    **dict.fromkeys(("size", "resize"), "write resized=, (width, height) for each image"),
    "transform": "write steps=, what genimage_stream.transforms planned for these images",
    **dict.fromkeys(("threads", "strict", "limits"), "it belongs to BatchDecoder(...)"),
}
_WORKERS = dict.fromkeys(("num_workers", "workers"), "decoding is done by threads=, not by worker processes")


class BatchDecoder:
    """A pool of C++ threads that decode, crop, resize, mirror and normalise images into batches.

    `threads` None: one per CPU that this process may run on. The threads start with the first job and end when the
    decoder and its jobs are gone, at `close`, or with the interpreter; a decoder that was used before a fork starts new
    ones in the child. `strict` and `limits` as for `decode`.
    """

    @explains_unknown("BatchDecoder", _WORKERS)
    def __init__(self, threads: int | None = None, *, strict: bool = True, limits: Limits = DEFAULT_LIMITS) -> None:
        if threads is None:
            threads = cores()
        need_limits(limits)
        self._core = _core.Decoder(thread_count(threads), decode_for_batch)
        self._strict = flag("strict", strict)
        self._limits = limits

    @property
    def threads(self) -> int:
        """The number of decoder threads."""
        return self._core.threads

    @explains_unknown("BatchDecoder.submit", _INSTEAD)
    def submit(
        self,
        source: Sequence[Buffer | PartialBytes] | FileRanges,
        out: Any,
        *,
        crops: npt.ArrayLike | None = None,
        flips: npt.ArrayLike | None = None,
        divert: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        resized: npt.ArrayLike | None = None,
        resample: Resample = "bilinear",
        dct_scale: bool = False,
        small: Small = "tile",
        fill: Sequence[int] = (0, 0, 0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        steps: PlannedSteps | None = None,
        sizes: npt.ArrayLike | None = None,
    ) -> Job:
        """Begin to decode n images into `out`, (n, 3, height, width) uint8, float16 or float32, C-contiguous.

        `source` is a list of n bytes-like objects (or PartialBytes) or a FileRanges. `out` is a NumPy array, a torch
        tensor on the CPU (pinned or not), or anything else with the array interface or DLPack; for floats (and only for
        them may `mean` and `std` be given) a pixel is `(pixel / 255 - mean[c]) / std[c]`, computed in double precision
        and rounded once to float32, and for float16 from there to half.

        `crops` int32 (n, 2): the left upper corner (x, y) of the window, which is as large as `out`. An image that is
        smaller than the window continues beyond its right and lower edges by the policy `small`: "tile" repeats it,
        "reflect" mirrors it without repeating the edge, "constant" fills with `fill`, "resize" enlarges it first.
        `flips` uint8 (n,): 1 mirrors left to right, after the crop. `boxes` float32 (n, 4) (x, y, width, height) and
        `resized` int32 (n, 2) (width, height): that box of the image is resized to that size before the crop, as
        Pillow's `resize(size, resample, box)`, bit for bit; the box is the whole image by default and the size that of
        the window; neither may be longer than 1048576 either way. With "resize", an image, resized or not, that does
        not cover the window is enlarged until it does: to `covering_size`, by the same filter, or bilinear when it was
        not to be resized otherwise. `dct_scale=True` changes pixels: a JPEG that is to shrink to less than half is
        decoded at 1/2, 1/4 or 1/8 of its size from the lower frequencies alone and resized from there, as Pillow's
        `draft` followed by `resize` does.

        `divert` uint8 (n,): 1 leaves the image to another decoder, a GPU's, if it is a JPEG such as those take
        (sequential, 8 bits, gray or YCbCr, structurally whole) and not smaller than the window: it is then in
        `Job.diverted()`, cut down to the restart intervals around the window when the file is crop-ready. 2 does the
        same but decodes it here as well: one that is damaged inside is then among `errors()`, not in `diverted()`.

        `sizes` int32 (n, 2): the (width, height) that each image has to have. One of another size is an error of that
        image: `crops` that were chosen for the size in an index would show something else.

        `steps` in place of `crops` and all that changes the image's geometry: what `genimage_stream.transforms` planned
        for each image, which ends with an image as large as `out`. Of several pictures of an image, which is decoded
        once, each has a place in `out`; when the image fails all of them are zeros.

        Raises ValueError or TypeError for arguments that do not fit together or have no effect. What is wrong with one
        image is in `Job.errors()`: its place is filled with zeros and its neighbours are not touched.
        """
        one_of("resample", resample, _RESAMPLE)
        keep, where = describe(out)
        n = where[2] if steps is None else len(steps.sizes)
        if len(source) != n or (steps is not None and len(steps.lists) != where[2]):
            has = len(source) if steps is None else f"{len(source)}, the steps are for {n} with {len(steps.lists)}"
            raise ValueError(f"source has {has} images and out has room for {where[2]}")
        if (crops is None) == (steps is None):
            raise ValueError("either crops or steps are needed")
        pixels = PixelOptions(OUTPUTS[where[1]], small, fill, mean, std)
        shapes = resample != "bilinear" or pixels.small != "tile" or flag("dct_scale", dct_scale)
        if steps is not None and (shapes or not (flips is divert is boxes is resized is sizes is None)):
            raise ValueError(
                "flips, divert, boxes, resized, resample, dct_scale, small, fill and sizes go with crops; steps say "
                "all of that themselves"
            )
        if dct_scale and boxes is resized is None:
            raise ValueError("dct_scale=True has no effect without boxes or resized: nothing shrinks")
        given: object = source
        if isinstance(source, FileRanges):
            given = (
                source.files._core,
                column(source.file_index, np.int32, (n,), "file_index"),
                column(source.offset, np.int64, (n,), "offset"),
                column(source.size, np.int64, (n,), "size"),
                source.names,
            )
        return Job(
            self._core.submit(
                given,
                keep,
                where,
                column(crops, np.int32, (n, 2), "crops"),
                column(flips, np.uint8, (n,), "flips"),
                column(divert, np.uint8, (n,), "divert"),
                column(boxes, np.float32, (n, 4), "boxes"),
                column(resized, np.int32, (n, 2), "resized"),
                _RESAMPLE.index(resample),
                dct_scale,
                SMALL.index(pixels.small),
                pixels.fill,
                pixels.mean,
                pixels.std,
                self._strict,
                *self._limits.as_core,
                None if steps is None else steps.lists,
                column(sizes if steps is None else steps.sizes, np.int32, (n, 2), "sizes"),
                column(None if steps is None else steps.firsts, np.int32, (n + 1,), "steps.first"),
            )
        )

    def decode_batch(
        self, source: Sequence[Buffer | PartialBytes] | FileRanges, out: Any, **options: Any
    ) -> list[ImageError]:
        """`submit` and `wait`: returns the images that failed. The options are those of `submit`."""
        job = self.submit(source, out, **options)
        job.wait()
        return job.errors()

    def close(self) -> None:
        """Finish the images in work, cancel the rest, end the threads. A later `submit` starts them again."""
        self._core.stop()

    def __enter__(self) -> BatchDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=4)
def _shared(threads: int | None, strict: bool, limits: Limits) -> BatchDecoder:
    return BatchDecoder(threads, strict=strict, limits=limits)


def decode_batch(
    source: Sequence[Buffer | PartialBytes] | FileRanges,
    out: Any,
    *,
    threads: int | None = None,
    strict: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> list[ImageError]:
    """Decode n images into `out` and return those that failed: `BatchDecoder.submit` and `wait` on a pool that is kept
    for the next call with the same `threads`, `strict` and `limits`. The options are those of `submit`."""
    need_limits(limits)
    return _shared(threads, strict, limits).decode_batch(source, out, **options)


def covering_size(size: tuple[int, int], window: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) to which `small="resize"` enlarges an image of `size` for a window of (width, height).

    It grows by the larger of the two ratios: one side becomes the window's, the other is rounded down. An image that
    covers the window keeps its size.
    """
    (width, height), (wide, high) = (
        (whole(name, side, 1, highest=(1 << 31) - 1) for side in sides)
        for name, sides in (("size", size), ("window", window))
    )
    return _core.covering_size((width, height), (wide, high))
