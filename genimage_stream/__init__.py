"""Read GenImage shards: decode, select, stream.

Decoding is imported eagerly: `gs.decode` is a function and `genimage_stream.decode` also the package that holds it, so
importing that package later would replace the function. Everything else is imported on
first use, so that `import genimage_stream` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genimage_stream.decode import (
    BatchDecoder,
    DecodeError,
    FileRanges,
    FileSet,
    ImageFacts,
    Limits,
    check,
    crop_jpeg,
    decode,
    decode_batch,
    inspect,
    make_crop_ready,
)
from genimage_stream.remedies import needing_torch

if TYPE_CHECKING:
    from genimage_stream.backends.dali_options import DaliOptions
    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.dataset.opening import open_dataset
    from genimage_stream.dataset.unbiased import unbiased
    from genimage_stream.decode.webdataset_handler import webdataset_handler
    from genimage_stream.evaluation.gathering import gather
    from genimage_stream.evaluation.matrix import Matrix, matrix
    from genimage_stream.evaluation.scores import Scores
    from genimage_stream.evaluation.table import Table
    from genimage_stream.loading.batch import Batch
    from genimage_stream.loading.collating import collate_dict
    from genimage_stream.loading.fidelity import fidelity
    from genimage_stream.loading.lightning import lightning_callback
    from genimage_stream.loading.loader import Loader
    from genimage_stream.ray_data import ray_dataset
    from genimage_stream.transforms.degradations import degradations

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "BatchDecoder",
    "DaliOptions",
    "Dataset",
    "DecodeError",
    "FileRanges",
    "FileSet",
    "ImageFacts",
    "Limits",
    "Loader",
    "Matrix",
    "Scores",
    "Table",
    "check",
    "collate_dict",
    "crop_jpeg",
    "decode",
    "decode_batch",
    "degradations",
    "fidelity",
    "gather",
    "inspect",
    "lightning_callback",
    "make_crop_ready",
    "matrix",
    "open_dataset",
    "ray_dataset",
    "unbiased",
    "webdataset_handler",
]

_LAZY = {
    "Dataset": "dataset.dataset",
    "open_dataset": "dataset.opening",
    "unbiased": "dataset.unbiased",
    "Batch": "loading.batch",
    "Loader": "loading.loader",
    "DaliOptions": "backends.dali_options",
    "collate_dict": "loading.collating",
    "gather": "evaluation.gathering",
    "fidelity": "loading.fidelity",
    "lightning_callback": "loading.lightning",
    "webdataset_handler": "decode.webdataset_handler",
    "Scores": "evaluation.scores",
    "Table": "evaluation.table",
    "Matrix": "evaluation.matrix",
    "matrix": "evaluation.matrix",
    "degradations": "transforms.degradations",
    "ray_dataset": "ray_data",
}
_ROOMS = ("recipes", "transforms")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needing_torch(f"{__name__}.{name}"):
        value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value  # so that the next access finds it
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_ROOMS})
