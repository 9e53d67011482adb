"""A receipt: which samples a loader gave, in which order, with which pixels, in a few kilobytes of JSON; and its check.

The order of an epoch and the pixels of its first samples are in it as hashes, so another machine can confirm them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.arguments import whole
from genimage_stream.transforms.step import from_json, to_json

if TYPE_CHECKING:
    from genimage_stream.loading.engine import Engine
    from genimage_stream.loading.loader import Loader
    from genimage_stream.loading.options import LoaderOptions

FORMAT = 1

_PROBE = 8  # samples whose pixels are hashed
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
    "normalize",
    "on_error",
    "max_errors",
    "strict",
)


def write_receipt(loader: Loader, epochs: int | None = None) -> dict[str, Any]:
    """`Loader.receipt`."""
    engine, options = loader._engine, loader.options
    placement = engine.schedule.placement()
    count = max(1, loader.epoch) if epochs is None else whole("epochs", epochs, 1)
    if options.limits is not None:
        raise ValueError("limits= is not part of a receipt: make the loader without it")
    about: dict[str, Any] = {
        "receipt": FORMAT,
        "path": loader.dataset.path,
        "dataset": loader.dataset.access.digest(),
        "samples": len(loader.dataset),
        "selection": _packed_rows(loader.dataset.access.chosen),
        "world_size": placement.world_size,
        "epochs": count,
        "options": _plain_options(options),
        "orders": {str(epoch): _order_hash(engine, epoch) for epoch in sorted({0, count - 1})},
        "pixels": _pixel_hash(loader),
    }
    return {**about, "hash": receipt_hash(about), "versions": _versions()}


def receipt_hash(receipt: Mapping[str, Any]) -> str:
    """The sha256 of what a receipt says, without where the dataset was and which versions read it."""
    said = {name: value for name, value in receipt.items() if name not in ("hash", "versions", "path")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def loader_of(receipt: Mapping[str, Any], path: str | None = None) -> Loader:
    """The loader that a receipt describes, on the dataset at `path`, by default where it was. It begins anew, with rank
    and world size of this process group.

    Raises ValueError for what is no receipt of this version, or for another dataset; OSError where there is none.
    """
    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.dataset.opening import open_dataset
    from genimage_stream.loading.loader import Loader

    if not isinstance(receipt, Mapping) or receipt.get("receipt") != FORMAT:
        raise ValueError("this is no receipt of a loader, or of another version: loader.receipt() makes one")
    if receipt.get("hash") != receipt_hash(receipt):
        raise ValueError("the receipt was changed: its hash is not that of its contents")
    whole_dataset = open_dataset(path or receipt["path"])
    rows = _unpacked_rows(receipt["selection"], len(whole_dataset))
    dataset = whole_dataset if rows is None else Dataset(whole_dataset.access.with_rows(rows))
    if len(dataset) != receipt["samples"] or dataset.access.digest() != receipt["dataset"]:
        raise ValueError(f"{dataset.path} does not hold the samples of the receipt")
    options = dict(receipt["options"])
    transform, mix = options.pop("transform"), options.pop("mix")
    if transform is not None:
        transform = from_json(json.dumps(transform))
        for name in ("crop", "crop_position", "flip", "small", "fill"):
            del options[name]
    elif isinstance(options["crop"], list):
        options["crop"] = tuple(options["crop"])
    if mix is not None:
        mix = {column: rule if not isinstance(rule, list) else dict(map(tuple, rule)) for column, rule in mix}
    return Loader(dataset, transform=transform, mix=mix, **options)


def differences(receipt: Mapping[str, Any], loader: Loader) -> list[str]:
    """What this machine gives otherwise than the receipt says, in sentences; none when it gives the same batches."""
    found = []
    for epoch, expected in receipt["orders"].items():
        if _order_hash(loader._engine, int(epoch)) != expected:
            found.append(f"the order of epoch {epoch} is another one")
    if _pixel_hash(loader) != receipt["pixels"]:
        found.append(f"the pixels of the first {_PROBE} samples of epoch 0 differ")
    return found


def _plain_options(options: LoaderOptions) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps({name: getattr(options, name) for name in _AS_THEY_ARE}))
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


def _order_hash(engine: Engine, epoch: int) -> str:
    order = engine.schedule.order(epoch)
    state = hashlib.sha256(np.ascontiguousarray(order.rows, "<i8").data)
    if order.occurrences is not None:
        state.update(np.ascontiguousarray(order.occurrences, "<i8").data)
    return state.hexdigest()


def _pixel_hash(loader: Loader) -> str:
    """Of the first samples of epoch 0 over all ranks, decoded on the CPU: keys and pixels."""
    from dataclasses import replace

    from genimage_stream.loading.loader import Loader

    options = replace(
        loader.options,
        batch_size=_PROBE,
        rank=0,
        world_size=1,
        backend="cpu",
        device=None,
        dali=None,
        channels_last=False,
        drop_last=False,
        threads=1,
        pin_memory=False,
    )
    running = iter(Loader(loader.dataset, **vars(options)))
    batch = next(running)
    running.close()
    state = hashlib.sha256(json.dumps(batch.keys).encode())
    state.update(np.ascontiguousarray(batch.images.numpy()).view(np.uint8).data)
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


def _unpacked_rows(packed: Any, total: int) -> npt.NDArray[np.int64] | None:
    if packed is None:
        return None
    if isinstance(packed, str):
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b85decode(packed)), np.uint8))
        rows = np.flatnonzero(bits).astype(np.int64)
    else:
        rows = np.concatenate([np.empty(0, np.int64), *(np.arange(a, b) for a, b in _runs(packed))])
    if len(rows) and rows[-1] >= total:
        raise ValueError(f"the dataset has {total:,} samples, and the receipt is of more")
    return rows


def _runs(packed: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    return [(int(start), int(stop)) for start, stop in packed]


def _versions() -> dict[str, str]:
    return {
        "genimage-stream": version("genimage-stream"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
