"""`gs.fidelity`: the DALI backend's pixels beside those of the CPU backend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

from genimage_stream.arguments import whole
from genimage_stream.backends.dali_options import DaliOptions
from genimage_stream.backends.differences import StreamFidelity, compare
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.loader import Loader
from genimage_stream.loading.options import LoaderOptions


def fidelity(
    dataset: Dataset,
    *,
    samples: int = 1024,
    crop: int | tuple[int, int] = 224,
    device: str | None = None,
    seed: int = 0,
    batch_size: int = 32,
    dali: DaliOptions | None = None,
) -> list[StreamFidelity]:
    """Decode the same windows of up to `samples` random images by `backend="cpu"` and `backend="dali"` on `device`
    (None: DALI's CPU mode), as uint8, and compare them per stream. `dali` as for the loader: `hw_decoder_load` 1 or 0
    separates the hardware decoder from the CUDA kernels. Images that do not decode are omitted. Raises what the loaders
    raise: ImportError without DALI, RuntimeError without the device."""
    samples = whole("samples", samples, 1)

    options = LoaderOptions(batch_size, crop=crop, seed=seed, on_error="skip", max_errors=sys.maxsize)
    reference = Loader(dataset, **vars(options))
    other = Loader(dataset, **vars(replace(options, backend="dali", device=device, dali=dali)))
    batches = -(-samples // reference.batch_size)
    pairs = zip(_head(reference, batches), _head(other, batches), strict=True)
    return compare(pairs, samples, dataset.generators)


def _head(loader: Loader, batches: int) -> Iterator[Batch]:
    """The first batches of an epoch, which is then ended."""
    with closing(iter(loader)) as epoch:
        yield from islice(epoch, batches)
