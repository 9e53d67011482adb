"""Writing a page: its place is checked before the work starts, and it is written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def check_writable(path: str) -> None:
    """Raises OSError, in one sentence with the remedy, when no page can be written at `path`."""
    if not path.strip():
        raise FileNotFoundError("the page has no name: name a file, e.g. page.html")
    place = Path(path).expanduser()
    folder = place.absolute().parent
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file, e.g. {path.rstrip('/')}/page.html")
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {folder}; create it, or write elsewhere")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{path} cannot be written in {folder} ({error.strerror}): write elsewhere") from error


def write_page(path: str, document: str) -> None:
    """Write beside, flush, rename: a reader never sees half a page. Raises OSError in one sentence."""
    place = Path(path).expanduser().absolute()
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)  # of a process that died; a link that others put there is not followed
        with open(beside, "x", encoding="utf-8") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written ({error.strerror}): free some space or write elsewhere") from error
