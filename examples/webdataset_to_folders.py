"""Unpack a WebDataset into folders that `shard-tools pack` reads: OUT/GENERATOR/SPLIT/{real,fake}/.

    python examples/webdataset_to_folders.py OUT --generator flux --split train --fake-class 1 shards/*.tar

The label is the number in each sample's `.cls`. Everything but the image and that number is ignored.
"""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

IMAGES = ("jpg", "jpeg", "png", "webp", "avif", "tif", "tiff", "gif", "bmp")


def members(path: str) -> Iterator[tuple[str, str, bytes]]:
    """(key, suffix, content) of the files in a tar; a key goes up to the first dot of the file's name."""
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile():
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                yield f"{folder}/{stem}", suffix.lower(), file.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("tars", nargs="+")
    parser.add_argument("--generator", required=True)
    parser.add_argument("--split", choices=("train", "val"), required=True)
    parser.add_argument("--fake-class", type=int, default=1, help="class of fakes (default: 1); all others are real")
    options = parser.parse_args()
    written = 0
    for path in options.tars:
        for key, files in groupby(members(path), lambda member: member[0]):
            sample = {suffix: data for _, suffix, data in files}
            image = next((suffix for suffix in sample if suffix in IMAGES), None)
            if image is None or "cls" not in sample:
                raise SystemExit(f"{path}: the sample {key} has no image or no .cls ({', '.join(sample)})")
            label = "fake" if int(sample["cls"]) == options.fake_class else "real"
            folder = options.out / options.generator / options.split / label
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{key.strip('/').replace('/', '_')}.{image}"
            with open(folder / name, "xb") as file:  # two samples of one key are an error, not one image less
                file.write(sample[image])
            written += 1
    print(f"{written} images in {options.out / options.generator / options.split}")


if __name__ == "__main__":
    main()
