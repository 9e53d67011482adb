"""A receipt: which samples a loader gave, in which order, with which pixels, in a few kilobytes of JSON.

The order of an epoch and the pixels of its first samples are in it as hashes, so another machine can confirm them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.transforms.step import to_json

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.loading.batch import Batch
    from genimage_stream.loading.engine import Engine
    from genimage_stream.loading.options import LoaderOptions

FORMAT = 1

PROBE = 8  # samples whose pixels are hashed
_MOST_RUNS = 64  # of a selection's rows, written as such; a selection of more as a compressed bitmap

#: Options that decide what comes and what it looks like, as they are; others are written in a form of their own.
_AS_THEY_ARE = (
    "batch_size",
    "crop",
    "shuffle",
    "seed",
    "channels_last",
    "output",
    "drop_last",
    "window",
    "epoch_size",
    "crop_position",
    "flip",
    "small",
    "fill",
    "degrade",
    "views",
    "stride",
    "normalize",
    "on_error",
    "max_errors",
    "strict",
)

_NOT_HASHED = ("hash", "versions", "path", "parts", "pairs_path", "pairs_parts")

OPTIONS = {*_AS_THEY_ARE, "keep_epochs", "transform", "mix"}


@dataclass(frozen=True)
class Subject:
    """A loader, as receipts see it; `make` makes another one of a dataset and options."""

    dataset: Dataset
    options: LoaderOptions
    engine: Engine
    make: Callable[..., Iterable[Batch]]


def write_receipt(loader: Subject, count: int) -> dict[str, Any]:
    """`Loader.receipt` for `count` epochs."""
    engine, options = loader.engine, loader.options
    placement = engine.schedule.placement()
    if options.limits is not None:
        raise ValueError("limits= is not part of a receipt: make the loader without it")
    about: dict[str, Any] = {
        "receipt": FORMAT,
        "path": loader.dataset.path,
        **_named("parts", loader.dataset),
        "dataset": loader.dataset.access.digest(),
        "samples": len(loader.dataset),
        **({"steps": json.loads(to_json(loader.dataset.steps))} if loader.dataset.steps else {}),
        "selection": _packed_rows(loader.dataset.access.chosen),
        **({} if options.pairs is None else _about_pairs(options.pairs)),
        "world_size": placement.world_size,
        "epochs": count,
        "options": _plain_options(options),
        **({"shares": engine.schedule.shares()} if options.order == "nodes" else {}),
        "orders": {str(epoch): order_hash(engine, epoch) for epoch in sorted({0, count - 1})},
        "pixels": pixel_hash(loader),
    }
    return {**about, "hash": receipt_hash(about), "versions": _versions()}


def _about_pairs(pairs: Dataset) -> dict[str, Any]:
    about = {"dataset": pairs.access.digest(), "samples": len(pairs), "selection": _packed_rows(pairs.access.chosen)}
    return {"pairs_path": pairs.path, **_named("pairs_parts", pairs), "pairs": about}


def _named(name: str, dataset: Dataset) -> dict[str, Any]:
    """Where the datasets are that were opened as this one."""
    return {} if dataset.access.parts is None else {name: list(dataset.access.parts.names)}


def receipt_hash(receipt: Mapping[str, Any]) -> str:
    """The sha256 of what a receipt says, without where the datasets were and which versions read them."""
    said = {name: value for name, value in receipt.items() if name not in _NOT_HASHED}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _plain_options(options: LoaderOptions) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps({name: getattr(options, name) for name in _AS_THEY_ARE}))
    if options.keep_epochs is not None:
        found["keep_epochs"] = options.keep_epochs
    found["transform"] = None if options.transform is None else json.loads(to_json(options.transform))  # type: ignore[arg-type]
    found["mix"] = options.mix and [
        [column, sorted([_plain(value), float(weight)] for value, weight in rule.items())]
        if isinstance(rule, Mapping)
        else [column, rule]
        for column, rule in options.mix.items()
    ]
    return found


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


def order_hash(engine: Engine, epoch: int, shares: int = 0) -> str:
    """`shares`: as in `Schedule.order`."""
    order = engine.schedule.order(epoch, shares)
    state = hashlib.sha256(np.ascontiguousarray(order.rows, "<i8").data)
    if order.occurrences is not None:
        state.update(np.ascontiguousarray(order.occurrences, "<i8").data)
    return state.hexdigest()


def pixel_hash(loader: Subject) -> str:
    """Of the first samples of epoch 0 over all ranks, decoded on the CPU: keys and pixels, also of their pairs."""
    options = replace(
        loader.options,
        batch_size=PROBE,
        rank=0,
        world_size=1,
        ranks_per_node=None,
        backend="cpu",
        device=None,
        dali=None,
        channels_last=False,
        drop_last=False,
        threads=1,
        prefetch=1,
        pin_memory=False,
    )
    batch = next(iter(loader.make(loader.dataset, **vars(options))))
    state = hashlib.sha256()
    for part in (batch, batch.pairs):
        if part is not None:
            state.update(json.dumps(part.keys).encode())
            state.update(np.ascontiguousarray(part.images.numpy()).view(np.uint8).data)
    return state.hexdigest()


def _packed_rows(chosen: npt.NDArray[np.int64] | None) -> Any:
    """Rising rows as [start, stop] runs, or as a compressed bitmap; None for all."""
    if chosen is None:
        return None
    breaks = np.flatnonzero(np.diff(chosen) != 1)
    starts = chosen[np.concatenate([[0], breaks + 1])] if len(chosen) else chosen
    stops = chosen[np.concatenate([breaks, [-1]])] + 1 if len(chosen) else chosen
    if len(starts) <= _MOST_RUNS:
        return [[int(a), int(b)] for a, b in zip(starts, stops, strict=True)]
    bits = np.zeros(int(chosen[-1]) + 1, bool)
    bits[chosen] = True
    return base64.b85encode(zlib.compress(np.packbits(bits).tobytes(), 9)).decode("ascii")


def _versions() -> dict[str, str]:
    return {
        "genimage-stream": version("genimage-stream"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
