"""What a file is that should be an archive or a table and is none: what a download left in its place."""

from __future__ import annotations

import os

_HEAD = 1024


def remedy(path: str) -> str:
    """The end of a sentence on a file that cannot be read. Nothing is said of objects in a store, and of pipes."""
    raw = os.fsencode(path)
    try:
        with open(raw if os.path.isfile(raw) else os.devnull, "rb") as file:
            head = file.read(_HEAD).lstrip().lower()
    except OSError:
        head = b""
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer to the file: fetch that by `git lfs pull`"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, of a login or a quota, say: open it in a browser to see why, then download it again"
    return "download it again"
