"""Images that do not decode: raised, or skipped and counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from genimage_stream.dataset.access import Access
from genimage_stream.decode import DecodeError
from genimage_stream.loading.samples import SampleTable
from genimage_stream.remedies import read_error

if TYPE_CHECKING:
    from genimage_stream.decode import ImageError

log = logging.getLogger("genimage_stream")


class Failures:
    """The error policy of one loader, over all its epochs: with `skip`, up to `limit` different samples are skipped.
    Those of a dataset that follows another one count together with those of `beside`."""

    def __init__(self, access: Access, *, skip: bool, limit: int, beside: Failures | None = None) -> None:
        self._access = access
        self._skip = skip
        self._limit = limit
        self._skipped: set[tuple[bool, int]] = set() if beside is None else beside._skipped
        self._follows = beside is not None

    def judge(self, error: ImageError, row: int, table: SampleTable) -> None:
        """Raise DecodeError or OSError as the policy wants it, or log that the sample is skipped, once."""
        path = f"{self._access.store.name}/{table.shard_paths[table.shard[row]]}"
        key = self._access.columns.keys(np.array([row]))[0]
        text = f"sample {key!r} in {path}, {table.size[row]} bytes at {table.offset[row]}: {error.message}"
        if error.kind != "decode":
            raise read_error(error.errno, text, self._access.store.name)
        if not self._skip:
            raise DecodeError(f'{text}. on_error="skip" omits such samples.')
        if (self._follows, row) not in self._skipped:
            self._skipped.add((self._follows, row))
            log.warning("skipped %s", text)
        if len(self._skipped) > self._limit:  # also when the loader is iterated again
            raise DecodeError(f"more than max_errors={self._limit} samples do not decode; the last: {text}")
