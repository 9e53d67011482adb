"""What is on disk: file names, the columns of the two tables, the format version.

The packer writes and the reader reads by these definitions, so neither depends on the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1

DATASET_FILE = "dataset.json"
PACK_FOLDER = ".pack"  # of a packing run that is not finished
PLAN_FILE = f"{PACK_FOLDER}/plan.json"
INDEX_FILE = "index.parquet"
MAP_FILE = ".index.arrow"  # a cache of the index for readers (dataset/index_map.py)
QUARANTINE_FILE = "quarantine.parquet"
LATER_COLUMNS = ("chroma",)  # of the index: datasets that were packed before lack them


def shard_path(generator: str, split: str, number: int) -> str:
    """Path of a shard within the dataset; its DALI index is beside it with the suffix `.idx`."""
    return f"{generator}/{split}/{generator}-{split}-{number:05d}.tar"


def stored_hash_column(names: Collection[str]) -> str:
    """Of an index's columns, the SHA-256 of the stored bytes: `sha256` is that of the original file, which differs in
    crop-ready shards."""
    return "stored_sha256" if "stored_sha256" in names else "sha256"


def idx_path(shard: str) -> str:
    return shard.removesuffix(".tar") + ".idx"


def kept_column(name: str) -> str:
    """What a column of the source is called in the index (`pack --keep name`)."""
    return "x_" + re.sub(r"[^A-Za-z0-9_]+", "_", name)


def index_schema(*, crop_ready: bool = False, kept: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """One row per packed sample, in the order of the shards and of the samples within them.

    Datasets packed with --crop-ready have three more columns, because they store recoded files. `kept` are the columns
    of the source that `--keep` names, with their types.
    """
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    recoded = [
        ("stored_sha256", pa.string()),  # of the stored bytes
        ("pixel_sha256", pa.string()),  # of the RGB pixels
        ("segments", pa.list_(pa.int32())),  # see segments.py; null where an image is always read whole
    ]
    return pa.schema(
        [
            ("key", pa.string()),
            ("generator", word),
            ("split", word),  # train, val
            ("label", word),  # real, fake
            ("class_index", pa.int16()),  # 0..999, null when unknown
            ("synset", word),  # null when unknown
            ("shard", word),  # path within the dataset
            ("offset", pa.int64()),  # of the image's first byte in the tar
            ("size", pa.int64()),  # bytes of the stored image
            ("format", word),  # jpeg, png, ...: by the bytes
            ("mode", word),  # as Pillow names it
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("jpeg_quality", pa.int16()),  # null for other formats
            ("chroma", word),  # 444, 422, 420, other; null for other formats
            ("progressive", pa.bool_()),
            ("sha256", pa.string()),  # of the original bytes, hexadecimal
            ("source", pa.string()),  # path within SRC, or archive:member
            *(recoded if crop_ready else []),
            *((kept_column(name), kind) for name, kind in (kept or {}).items()),
        ]
    )


def quarantine_schema() -> pa.Schema:
    """One row per source file that was not packed."""
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in ("source", "generator", "split", "label", "reason")])
