"""Facts from an image's bytes; sound or not, and why."""

from __future__ import annotations

from typing import Literal

from genimage_stream.decode import DecodeError, ImageFacts, check, inspect
from shard_tools.errors import UnreadableImageError

Check = Literal["full", "header"]
CHECKS: tuple[Check, ...] = ("full", "header")


def image_facts(data: bytes, how: Check = "full") -> ImageFacts:
    """The facts of one image; `full` decodes every pixel, `header` only probes.

    Raises UnreadableImageError with the reason.
    """
    try:
        return check(data) if how == "full" else inspect(data)
    except DecodeError as error:
        raise UnreadableImageError(str(error)) from error
