"""From a receipt back to its loader, and whether this machine gives what the receipt says."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.opening import open_dataset
from genimage_stream.loading.loader import Loader
from genimage_stream.loading.receipt import FORMAT, PROBE, order_hash, pixel_hash, receipt_hash
from genimage_stream.transforms.step import from_json


def loader_of(receipt: Mapping[str, Any], path: str | None = None) -> Loader:
    """The loader that a receipt describes, on the dataset at `path`, by default where it was. It begins anew, with rank
    and world size of this process group.

    Raises ValueError for what is no receipt of this version, or for another dataset; OSError where there is none.
    """
    if not isinstance(receipt, Mapping) or receipt.get("receipt") != FORMAT:
        raise ValueError("this is no receipt of a loader, or of another version: loader.receipt() makes one")
    if receipt.get("hash") != receipt_hash(receipt):
        raise ValueError("the receipt was changed: its hash is not that of its contents")
    whole_dataset = open_dataset(path or receipt["path"])
    rows = _unpacked_rows(receipt["selection"], len(whole_dataset))
    steps = tuple(from_json(json.dumps(receipt.get("steps", []))))
    dataset = Dataset(replace(whole_dataset.access, chosen=rows, steps=steps))
    if len(dataset) != receipt["samples"] or dataset.access.digest() != receipt["dataset"]:
        raise ValueError(f"{dataset.path} does not hold the samples of the receipt")
    options = dict(receipt["options"])
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
    return Loader(dataset, transform=transform, mix=mix, **options)


def differences(receipt: Mapping[str, Any], loader: Loader) -> list[str]:
    """What this machine gives otherwise than the receipt says, in sentences; none when it gives the same batches."""
    found = []
    for epoch, expected in receipt["orders"].items():
        if order_hash(loader.subject.engine, int(epoch)) != expected:
            found.append(f"the order of epoch {epoch} is another one")
    if pixel_hash(loader.subject) != receipt["pixels"]:
        found.append(f"the pixels of the first {PROBE} samples of epoch 0 differ")
    return found


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
