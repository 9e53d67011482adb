"""Images with changed bytes or structure through this decoder and Pillow: what both accept must look the same.

    python fuzz/against_pillow.py [--seconds N] [--images N] [--keep FOLDER]

Exit code 1 when they disagree about pixels. An image that only one of them accepts is counted, not a finding: Pillow
checks fewer checksums, and what each of them reads past differs. Needs the built package.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

import genimage_stream as gs

sys.path.insert(0, str(Path(__file__).parent))
import make_seeds
import structure

LIMITS = gs.Limits(max_pixels=1 << 18, max_bytes=1 << 20)


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """One to four changes of bits, bytes, stretches, or the length."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        at = int(rng.integers(0, len(out)))
        length = int(rng.integers(1, 20))
        match int(rng.integers(0, 6)):
            case 0:
                out[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                out[at] = int(rng.integers(0, 256))
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            case 4:
                other = int(rng.integers(0, len(out)))
                out[at : at + length] = out[other : other + length]
            case _:
                del out[at:]
    return bytes(out)


def by_pillow(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Pillow's pixels by the rules of `decode`, or None when it refuses."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
        if image.width * image.height > LIMITS.max_pixels:
            return None
        image.load()
        if image.mode.startswith("I"):
            high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(high[:, :, None], 3, axis=2)
        if image.mode in {"RGBA", "LA", "PA"}:
            image = image.convert("RGBA")
            return np.asarray(image)[:, :, :3]
        return np.asarray(image.convert("RGB"))
    except Exception:  # whatever a decoder of hostile bytes raises
        return None


def compare(data: bytes) -> str:
    """What became of one image: "same", "different", or which side refused it."""
    try:
        ours = gs.decode(data, limits=LIMITS)
    except gs.DecodeError:
        return "refused by both" if by_pillow(data) is None else "refused here only"
    theirs = by_pillow(data)
    if theirs is None:
        return "refused by Pillow only"
    if ours.shape == theirs.shape and np.array_equal(ours, theirs):
        return "same"
    # libjpeg-turbo smooths the blocks of a progression that stops early, and not every version in the same way.
    facts = gs.inspect(data)
    smoothed = facts.format == "jpeg" and facts.progressive and ours.shape == theirs.shape
    return "progressive, smoothed otherwise" if smoothed else "different"


def run(*, seconds: float, images: int, seed: int = 1, keep: Path | None = None) -> Counter[str]:
    """Compare the seeds, then mutations of them until the time is up or `images` have been compared."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    formats = [list(make_seeds.jpegs(rng).values()), list(make_seeds.pngs(rng).values())]
    seeds = [data for files in formats for data in files]

    def mutation() -> bytes:
        files = formats[int(rng.integers(0, 2))]
        data, other = (files[int(rng.integers(0, len(files)))] for _ in range(2))
        return mutate(rng, data) if rng.integers(0, 2) else structure.mutate(rng, data, other)

    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    number = 0
    while number < images and time.monotonic() < end:
        data = seeds[number] if number < len(seeds) else mutation()
        result = compare(data)
        counts[result] += 1
        if result == "different" and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"against_pillow-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
        number += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--images", type=int, default=1 << 62)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    counts = run(seconds=given.seconds, images=given.images, seed=given.seed, keep=given.keep)
    print(f"{counts.total()} images: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    return 1 if counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
