"""`gs.ray_dataset`: a dataset's samples as a Ray Data dataset, decoded by this package in Ray's workers."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from genimage_stream.arguments import WrongKindError, whole
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.map_style import MapStyle, Transform

if TYPE_CHECKING:
    import numpy.typing as npt

_THREADS = 4  # of a task: they wait for the store more than they decode


def ray_dataset(
    dataset: Dataset, transform: Transform = None, *, seed: int = 0, epoch: int = 0, rows_per_task: int = 64
) -> Any:
    """A `ray.data.Dataset` with a row per sample, in the dataset's order: `key`, `label` (0 real, 1 fake), `generator`
    (the name of the subset, for reals too) and `image`, uint8 (h, w, 3).

    `transform`: steps of `genimage_stream.transforms`, drawn by (seed, epoch, image) as in the loader, or a function of
    a Pillow image. Tasks of `rows_per_task` samples open the dataset where they run, so its path or address has to mean
    the same on every node. Nothing is read before Ray asks for it. Raises ImportError without Ray.
    """
    if not isinstance(dataset, Dataset):
        raise WrongKindError(f"{dataset!r} is no dataset: gs.open_dataset(path) gives one")
    rows_per_task = whole("rows_per_task", rows_per_task, 1)
    samples = MapStyle(dataset.access, transform, seed)
    samples.set_epoch(epoch)
    try:
        ray_data: Any = import_module("ray.data")
    except ImportError as error:
        raise ImportError(
            f"gs.ray_dataset needs Ray Data ({error}): pip install 'genimage-stream[ray]' pandas"
        ) from error
    tasks = max(1, -(-len(dataset) // rows_per_task))
    numbers = ray_data.range(len(dataset), override_num_blocks=tasks)
    return numbers.map_batches(RowsOfPlaces(pickle.dumps((dataset, samples))), batch_size=rows_per_task)


class RowsOfPlaces:
    """From places in a dataset to its rows. `pickled`: a dataset and its samples as a `MapStyle`."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __call__(self, batch: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, Any]:
        dataset, samples = _opened(self._pickled)
        places = np.asarray(batch["id"], np.int64)
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(samples.__getitem__, places.tolist()))
        access = dataset.access
        rows = access.rows[places]
        codes, generators = access.columns.words("generator")
        return {
            "key": np.array(access.columns.keys(rows), object),
            "label": np.array([label for _, label in found], np.int64),
            "generator": np.array(generators, object)[codes[rows]],
            "image": _column([np.asarray(image) for image, _ in found]),
        }


@lru_cache(maxsize=4)
def _opened(pickled: bytes) -> tuple[Dataset, MapStyle]:
    """Opened once in each of Ray's processes."""
    found: tuple[Dataset, MapStyle] = pickle.loads(pickled)
    return found


def _column(images: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One array where all have one shape, else an array of arrays, which Ray keeps as tensors of unlike shapes."""
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    column = np.empty(len(images), object)
    column[:] = images
    return column
