"""Facts from an image's bytes; sound or not, and why."""

from __future__ import annotations

import warnings
from typing import Literal

from genimage_stream.decode import DecodeError, ImageFacts, check, inspect
from genimage_stream.decode.image import sniff
from genimage_stream.decode.other_formats import FORMATS
from shard_tools.errors import ToolError, UnreadableImageError

Check = Literal["full", "header"]
CHECKS: tuple[Check, ...] = ("full", "header")


def image_facts(data: bytes, how: Check = "full", name: str = "an image") -> ImageFacts:
    """The facts of one image; `full` decodes every pixel, `header` only probes.

    Raises UnreadableImageError with the reason, and ToolError when it is of a format that can only be told sound from
    broken where Pillow is installed: what a dataset holds must not depend on that. `name` is for this message.
    """
    need_reader(data, name)
    try:
        return check(data) if how == "full" else inspect(data)
    except DecodeError as error:
        raise UnreadableImageError(str(error)) from error


def need_reader(data: bytes, name: str = "an image") -> None:
    """Raises ToolError when the image is of a format that nothing here decodes; see `image_facts`."""
    form = sniff(data)
    if form in FORMATS and not _pillow_reads(form):
        raise ToolError(
            f"{name} is a {form} image, and Pillow is not installed or was built without {form}: pip install --upgrade "
            "pillow, or take files of this format out of the source; then run the same command again to go on"
        )


def _pillow_reads(form: str) -> bool:
    try:
        from PIL import features
    except ImportError:
        return False
    if form != "avif":  # the others are always part of it
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old versions warn of names they do not know
        return bool(features.check(form))
