"""The bytes of one sample: its `<key>.json`, its members in the tar, and its line in DALI's index."""

from __future__ import annotations

from collections.abc import Sequence

from genimage_stream.decode import ImageFacts
from genimage_stream.vocabulary import synsets
from shard_tools import tar


def sample_facts(
    generator: str,
    split: str,
    label: str,
    class_index: int,
    synset: str | None,
    facts: ImageFacts,
    size: int,
    sha256: str,
    stored_sha256: str | None = None,
) -> bytes:
    """Contents of `<key>.json`: facts of the image, none of where it was found.

    Formatted by hand because every word comes from a closed set of plain letters, and `json.dumps` takes five times
    as long; a test compares the two.
    """
    name = synset if class_index < 0 else synsets()[class_index]
    text = (
        f'{{"generator":"{generator}","split":"{split}","label":"{label}",'
        f'"class_index":{class_index if class_index >= 0 else "null"},'
        f'"synset":{"null" if name is None else chr(34) + name + chr(34)},'
        f'"format":"{facts.format}","mode":"{facts.mode}","width":{facts.width},"height":{facts.height},'
        f'"jpeg_quality":{"null" if facts.jpeg_quality is None else facts.jpeg_quality},'
        f'"progressive":{"true" if facts.progressive else "false"},"size":{size},"sha256":"{sha256}"'
    )
    return (text + ("}" if stored_sha256 is None else f',"stored_sha256":"{stored_sha256}"}}')).encode()


def index_line(key: str, suffix: str, offset: int, size: int, small: Sequence[tar.Small], end: int) -> str:
    """A line of DALI's index v1.2: suffix, offset, size and name of each member; `end` is where the image's padding
    ends.
    """
    cls, json = small
    return (
        f"{suffix} {offset} {size} {key}.{suffix} cls {end + cls.offset} {cls.size} {key}.cls "
        f"json {end + json.offset} {json.size} {key}.json\n"
    )
