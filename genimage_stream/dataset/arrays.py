"""Arrays beside the images, one for each key: a folder of KEY.npy files, or one .npz file with an entry per key."""

from __future__ import annotations

import functools
import io
import os
import stat
import threading
import tokenize
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_LARGEST = 1 << 30  # bytes of one array


class Arrays:
    """The arrays `name` at a path. All have the shape and dtype of the first; reading is safe from several threads.

    Raises ValueError, naming `name`, path and key, for keys without an array and an array that is not numbers.
    """

    def __init__(self, name: str, path: str, keys: Sequence[str]) -> None:
        self._about, self._path = f"with_arrays[{name!r}]", Path(path)
        self._lock = threading.Lock()
        self._zip: zipfile.ZipFile | None = None
        if self._path.is_dir():
            there = {entry.name for entry in os.scandir(self._path)}
        elif self._path.is_file():
            try:
                self._zip = zipfile.ZipFile(self._path)
            except zipfile.BadZipFile as error:
                raise ValueError(f"{self._about}: {path} is no .npz file ({error})") from None
            there = set(self._zip.namelist())
        else:
            raise FileNotFoundError(f"{self._about}: there is no folder or .npz file {path}")
        missing = [key for key in keys if f"{key}.npy" not in there]
        if missing:
            raise ValueError(
                f"{self._about}: {path} has no array for {len(missing):,} of {len(keys):,} samples, e.g. no "
                f"{missing[0]}.npy; arrays are named by the samples' keys"
            )
        first = self._one(keys[0])
        if first.dtype.kind not in "biuf":
            raise ValueError(f"{self._about}: {keys[0]}.npy in {path} has the dtype {first.dtype}; numbers are needed")
        self._shape, self._dtype = first.shape, first.dtype

    def read(self, keys: Sequence[str]) -> Array:
        """(n, *shape) in native byte order. Raises ValueError for an array of another shape or dtype, OSError for a
        file that cannot be read."""
        out = np.empty((len(keys), *self._shape), self._dtype.newbyteorder("="))
        for place, key in enumerate(keys):
            one = self._one(key)
            if one.shape != self._shape or one.dtype != self._dtype:
                raise ValueError(
                    f"{self._about}: {key}.npy in {self._path} is {one.dtype} {one.shape}, and the first sample's "
                    f"{self._dtype} {self._shape}: all have to be alike"
                )
            out[place] = one
        return out

    def _one(self, key: str) -> Array:
        try:
            if self._zip is None:
                return _parse(_content(self._path / f"{key}.npy"))
            with self._lock:
                _check_size(self._zip.getinfo(f"{key}.npy").file_size)
                content = self._zip.read(f"{key}.npy")
            return _parse(content)
        except Exception as error:  # of a damaged zip nearly any: zlib.error, RuntimeError, struct.error, ...
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise OSError(f"{self._about}: {key}.npy in {self._path} cannot be read ({error})") from error


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is not a regular file")
        _check_size(facts.st_size)
        return file.read(_LARGEST)


def _check_size(size: int) -> None:
    """An entry of a zip of a few kB may claim, and unfold to, gigabytes."""
    if size > _LARGEST:
        raise ValueError(f"{size:,} bytes for one sample are more than {_LARGEST:,}")


def _parse(content: bytes) -> Array:
    """The array of a .npy file's content. Raises ValueError for what is none."""
    width = {1: 2, 2: 4}.get(content[6] if len(content) > 6 else 0)
    if width is None:
        raise ValueError("no .npy file of version 1 or 2")
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    shape, fortran, dtype = _header(content[:start])
    values = np.frombuffer(content, dtype, int(np.prod(shape, dtype=np.int64)), start)
    return values.reshape(shape, order="F" if fortran else "C")


# One thread at a time, once for each header: numpy reads it as Python source, and Python 3.11 answers SystemError when
# a collection of garbage lets a second thread into its parser.
_parsing = threading.Lock()


@functools.lru_cache(64)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = io.BytesIO(head)
    with _parsing:
        npy: Any = np.lib.format  # without types before numpy 2.3
        major, _ = npy.read_magic(file)
        read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        try:
            found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
        except (SyntaxError, TypeError, tokenize.TokenError, MemoryError, RecursionError) as error:
            raise ValueError(f"its header cannot be read: {error}") from error
    if found[2].hasobject:
        raise ValueError("an array of Python objects")
    return found
