"""The store at a folder or an address."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genimage_stream.remedies import is_utf8, printable
from genimage_stream.resources import parse_size
from genimage_stream.storage.local import LocalStore

if TYPE_CHECKING:
    from genimage_stream.storage.store import Store

log = logging.getLogger("genimage_stream")


def open_store(
    path: str | Path,
    options: dict[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | float | str = "50GB",
) -> Store:
    """The store at a folder or an address, read through a cache when it is an address and `cache_dir` is given.

    Raises ValueError for an address that no store serves, or a size that is none.
    """
    size_bytes = 0 if cache_dir is None else parse_size(cache_size)
    text = str(path)
    scheme, mark, rest = text.partition("://")
    if not mark or scheme == "file":
        if cache_dir is not None:
            log.warning("%s is read where it is: cache_dir is for object stores and web servers", text)
        folder = Path("/" + rest.lstrip("/")) if mark else Path(text).expanduser().absolute()
        if not is_utf8(str(folder)):
            raise ValueError(
                f"{printable(str(folder))}: the path is not UTF-8, and Arrow reads no index there: rename it"
            )
        return LocalStore(folder)
    if cache_dir is None:
        from genimage_stream.storage.remote import RemoteStore

        return RemoteStore(text, options)
    from genimage_stream.storage.cached import CachedStore

    return CachedStore(text, options, cache_dir, size_bytes)
