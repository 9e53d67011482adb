"""From a receipt back to its loader, and whether this machine gives what the receipt says."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from genimage_stream.addresses import is_link_local, shown
from genimage_stream.arguments import whole
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.opening import open_dataset
from genimage_stream.loading.loader import Loader
from genimage_stream.loading.options import LAST_EPOCH
from genimage_stream.loading.receipt import FORMAT, OPTIONS, PROBE, order_hash, pixel_hash, receipt_hash
from genimage_stream.transforms.step import Step, from_json

Places = str | Sequence[str] | None

# What the receipt of a stranger may ask for.
_EPOCHS = 16  # samples of an epoch of a mix, as a multiple of the dataset's,
_FEW_SAMPLES = 1 << 20  # where it is not small
_MOST_PIXEL_BYTES = 1 << 30  # of the samples that are compared, as float32


def loader_of(
    receipt: Mapping[str, Any], path: Places = None, pairs_path: Places = None, *, functions: bool = True
) -> Loader:
    """The loader that a receipt describes, on the dataset at `path` and pairs at `pairs_path` (several, if several
    were joined), by default where they were; pairs of the same dataset are at `path`. It begins anew, with rank and
    world size of this process group. `functions=False`: for the receipts of strangers, refuses those whose transform
    calls Python functions other than this package's, since importing a module runs it.

    Raises ValueError for what is no receipt of this version, or for another dataset; OSError where there is none.
    """
    if not isinstance(receipt, Mapping) or receipt.get("receipt") != FORMAT:
        raise ValueError("this is no receipt of a loader, or of another version: loader.receipt() makes one")
    try:
        if receipt.get("hash") != receipt_hash(receipt):
            raise ValueError("the receipt was changed: its hash is not that of its contents")
        if not functions:
            _refuse_functions([receipt.get("steps", []), receipt["options"]["transform"]])
        if not isinstance(receipt["pixels"], str) or not isinstance(receipt["orders"], dict):
            raise TypeError("its hashes are none")
        for epoch in receipt["orders"]:
            whole("orders", int(epoch), 0, highest=LAST_EPOCH)
        whole("epochs", receipt["epochs"], 1)
        if pairs_path is not None and "pairs" not in receipt:
            raise ValueError("the receipt is of a loader without pairs")
        return _loader_of(receipt, path, pairs_path)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error) as error:
        raise ValueError(f"the receipt is damaged ({type(error).__name__}: {error}): make it again") from error


def _loader_of(receipt: Mapping[str, Any], path: Places, pairs_path: Places) -> Loader:
    steps = tuple(from_json(json.dumps(receipt.get("steps", []))))
    places = path or _places(receipt, "path", "parts", "--data")
    dataset, total = _selected(receipt, places, steps)
    pairs = None
    if "pairs" in receipt:
        if pairs_path is None and receipt["pairs_path"] == receipt["path"]:
            pairs_path = places
        pairs_path = pairs_path or _places(receipt, "pairs_path", "pairs_parts", "--pairs")
        pairs = _selected(receipt["pairs"], pairs_path, steps)[0]
    options = dict(receipt["options"])
    if unknown := options.keys() - OPTIONS:
        raise ValueError(f"the receipt has an option {min(unknown)!r}, which no receipt has")
    transform, mix = options.pop("transform"), options.pop("mix")
    if transform is not None:
        transform = from_json(json.dumps(transform))
    if transform is not None or options["views"] == "whole":
        for name in ("crop", "crop_position", "flip", "small", "fill"):
            del options[name]
    elif isinstance(options["crop"], list):
        options["crop"] = tuple(options["crop"])
    if mix is not None:
        mix = {column: rule if not isinstance(rule, list) else dict(map(tuple, rule)) for column, rule in mix}
    loader = Loader(dataset, transform=transform, mix=mix, pairs=pairs, **options)
    _check_memory(loader, total)
    return loader


def _places(receipt: Mapping[str, Any], path: str, parts: str, option: str) -> list[str]:
    """Where the receipt says a dataset is, or those that were opened as one."""
    places = [str(place) for place in receipt.get(parts) or [receipt[path]]]
    for place in places:
        if "://" in place and is_link_local(urlsplit(place).hostname or ""):
            raise ValueError(
                f"the receipt names the address {shown(place)}, where machines keep credentials: give {option}"
            )
    return places


def _selected(said: Mapping[str, Any], places: str | Sequence[str], steps: tuple[Step, ...]) -> tuple[Dataset, int]:
    """The selection that a receipt describes, and how many samples the dataset has."""
    whole_dataset = open_dataset(places)
    rows = _unpacked_rows(said["selection"], len(whole_dataset))
    dataset = Dataset(replace(whole_dataset.access, chosen=rows, steps=steps))
    if len(dataset) != said["samples"] or dataset.access.digest() != said["dataset"]:
        raise ValueError(f"{dataset.path} does not hold the samples of the receipt")
    return dataset, len(whole_dataset)


def _check_memory(loader: Loader, total: int) -> None:
    """Raises ValueError for an epoch or pixels that take far more memory than those of a dataset of `total` samples."""
    engine = loader.subject.engine
    if (samples := engine.schedule.epoch_samples) > max(_EPOCHS * total, _FEW_SAMPLES):
        raise ValueError(f"the receipt is of epochs of {samples:,} samples, and the dataset has {total:,}: refused")
    pictures = PROBE * (1 if engine.transform is None else len(engine.transform.lists))
    pictures *= 1 if loader.options.pairs is None else 2
    if (size := max(h * w for h, w in engine.sizes) * 3 * pictures * 4) > _MOST_PIXEL_BYTES:
        raise ValueError(f"the first {PROBE} samples of the receipt take {size:,} bytes of memory: refused")


def _refuse_functions(steps: Any) -> None:
    """Raise ValueError for a function outside of this package among steps as JSON."""
    if isinstance(steps, Mapping):
        for kind, arguments in steps.items():
            name = str(arguments.get("name")) if kind == "Map" and isinstance(arguments, Mapping) else ""
            if name and name.partition(":")[0].partition(".")[0] != __package__.partition(".")[0]:
                raise ValueError(
                    f"the receipt's transform calls the Python function {name!r}, and importing that runs code: look "
                    "at it, and give --functions if you trust it"
                )
        steps = list(steps.values())
    if isinstance(steps, list):
        for step in steps:
            _refuse_functions(step)


def differences(receipt: Mapping[str, Any], loader: Loader) -> list[str]:
    """What this machine gives otherwise than the receipt says, in sentences; none when it gives the same batches."""
    found = []
    schedule = loader.subject.engine.schedule
    shares = schedule.shares_of(receipt)
    for epoch, expected in receipt["orders"].items():
        if order_hash(loader.subject.engine, int(epoch), shares) != expected:
            found.append(f"the order of epoch {int(epoch)} is another one")
    if pixel_hash(loader.subject) != receipt["pixels"]:
        found.append(f"the pixels of the first {PROBE} samples of epoch 0 differ")
    return found


def _unpacked_rows(packed: Any, total: int) -> npt.NDArray[np.int64] | None:
    """Rows of a dataset of `total` samples. Raises ValueError for others, before memory is taken for them."""
    if packed is None:
        return None
    beyond = ValueError(f"the dataset has {total:,} samples, and the receipt is of more")
    if isinstance(packed, str):
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(base64.b85decode(packed), total // 8 + 1)
        if unpacking.unconsumed_tail:
            raise beyond
        rows = np.flatnonzero(np.unpackbits(np.frombuffer(raw, np.uint8))).astype(np.int64)
        if len(rows) and rows[-1] >= total:
            raise beyond
        return rows
    runs = [(int(start), int(stop)) for start, stop in packed]
    at = 0
    for start, stop in runs:
        if not at <= start <= stop:
            raise ValueError("the rows of the receipt's selection do not rise")
        at = stop
    if at > total:
        raise beyond
    pieces = (np.arange(start, stop) for start, stop in runs)
    chosen: npt.NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *pieces])
    return chosen
