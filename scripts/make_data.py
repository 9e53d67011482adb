"""Makes the two lists in genimage_stream/data from public wheels.

    python scripts/make_data.py TIMM_WHEEL TENSORFLOW_DATASETS_WHEEL

synsets.txt: the 1,000 ImageNet-1k synsets, sorted; the line number is the class index.
ilsvrc2012_val.txt: the class index of each of the 50,000 ILSVRC2012 validation images in the order of their numbers,
ten bits each, most significant bit first, in base64.
"""

from __future__ import annotations

import base64
import sys
import zipfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "genimage_stream/data"


def lines(wheel: str, member: str) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member).decode("ascii").split()


def main() -> None:
    synsets = lines(sys.argv[1], "timm/data/_info/imagenet_synsets.txt")
    truth = lines(sys.argv[2], "tensorflow_datasets/datasets/imagenet2012/validation_labels.txt")
    if len(synsets) != 1000 or synsets != sorted(set(synsets)) or len(truth) != 50_000:
        sys.exit("the lists in these wheels are not what this script expects")
    (DATA / "synsets.txt").write_text("\n".join(synsets) + "\n")
    number = {synset: index for index, synset in enumerate(synsets)}
    classes = np.array([number[synset] for synset in truth], dtype=">u2")
    if np.bincount(classes).tolist() != [50] * 1000:
        sys.exit("the validation set has 50 images of every class; this list has not")
    bits = np.unpackbits(classes.view(np.uint8).reshape(-1, 2), axis=1)[:, 6:]
    text = base64.b64encode(np.packbits(bits.ravel()).tobytes()).decode("ascii")
    wrapped = [text[at : at + 120] for at in range(0, len(text), 120)]
    (DATA / "ilsvrc2012_val.txt").write_text("\n".join(wrapped) + "\n")


if __name__ == "__main__":
    main()
