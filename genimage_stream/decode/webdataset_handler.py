"""The decoder as a handler in an existing WebDataset pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genimage_stream.arguments import one_of
from genimage_stream.decode.image import DEFAULT_LIMITS, DecodeError, Limits, decode, need_limits
from genimage_stream.remedies import needing_torch

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "avif", "tif", "tiff", "gif", "bmp"})
_INTEGER_SUFFIXES = frozenset({"cls", "cls2", "index", "id"})


@dataclass(frozen=True)
class WebDatasetHandler:
    """Made by `webdataset_handler`; a plain value, so that it travels to worker processes."""

    output: Literal["numpy", "torch"]
    strict: bool
    limits: Limits

    def __call__(self, key: str | Mapping[str, Any], data: bytes | None = None) -> Any:
        """As a handler of `decode`: (".jpg", bytes) to the decoded field, or None for a field that is not ours. As a
        function for `map`: a whole sample to the decoded sample."""
        if isinstance(key, str):
            assert data is not None
            return self._field(key, data)
        sample = dict(key)
        for field, value in key.items():
            if field.startswith("__") or not isinstance(value, bytes):
                continue
            try:
                decoded = self._field("." + field, value)
            except ValueError as error:
                where = f"{key.get('__key__', 'a sample without a key')} in {key.get('__url__', 'an unnamed shard')}"
                raise DecodeError(f"{where}: {error}") from error
            if decoded is not None:
                sample[field] = decoded
        return sample

    def _field(self, key: str, data: bytes) -> Any:
        suffix = key.rpartition(".")[2].lower()
        try:
            if suffix in _INTEGER_SUFFIXES:
                return int(data)
            if suffix == "json":
                return json.loads(data)
            if suffix not in IMAGE_SUFFIXES:
                return None
            pixels = decode(data, strict=self.strict, limits=self.limits)
        except ValueError as error:
            raise DecodeError(f"{key}: {error}") from error
        if self.output == "numpy":
            return pixels
        import torch

        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def webdataset_handler(
    *, output: Literal["numpy", "torch"] = "numpy", strict: bool = True, limits: Limits = DEFAULT_LIMITS
) -> WebDatasetHandler:
    """A handler for `wds.WebDataset(urls).decode(gs.webdataset_handler())`.

    Image fields (by suffix, decoded by what their bytes are) become (height, width, 3) uint8 NumPy arrays or, with
    `output="torch"`, (3, height, width) uint8 tensors; `cls` becomes an int, `json` what it says. A damaged image is a
    `webdataset` DecodingError, which carries the sample's key and shard (`.key`, `.url`) and the DecodeError as its
    cause. `.map(gs.webdataset_handler())` instead of `.decode(...)` raises a DecodeError that names both in its text.
    """
    one_of("output", output, ("numpy", "torch"))
    need_limits(limits)
    if output == "torch":
        with needing_torch('webdataset_handler(output="torch")'):
            import torch  # noqa: F401 (missing here rather than at the first image)
    return WebDatasetHandler(output, strict, limits)
