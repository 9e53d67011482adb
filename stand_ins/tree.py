"""A small tree in the shape of GenImage: its folders, file names, formats, modes and sizes, and a few of its faults.

The reals are photographs saved as JPEG. The fakes are stand-ins: photographs that were made small, enlarged again and
modulated on the grid of the enlargement, which is the trace that a generator's upsampling layers leave in its images.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from genimage_stream import vocabulary
from genimage_stream.resources import cores
from stand_ins.photographs import cut

COUNTS = {"train": 40, "val": 16}  # reals, and fakes, of each generator
CLASSES = (0, 1, 2, 9, 281, 404, 511, 609, 717, 808, 920, 999)
#: Sizes of ImageNet's reals, the common ones repeated; a few are smaller than the crop.
REAL_SIZES = ((500, 375),) * 5 + ((500, 333), (375, 500), (400, 300), (640, 480), (334, 500), (160, 120))
REAL_QUALITIES = (96,) * 6 + (75, 90, 92, 95)


class Generator(NamedTuple):
    """How one generator's files lie on disk, and the grid of its stand-in."""

    folder: str
    side: int
    mode: str
    file_name: Callable[[int, int], str]  # of (class index, number)
    stride: int  # of the enlargement, pixels
    strength: float  # of the modulation, relative


GENERATORS = {
    "adm": Generator("ADM/imagenet_ai_0508_adm", 256, "RGBA", lambda c, n: f"{c}_adm_{n}.PNG", 4, 0.05),
    "biggan": Generator(
        "BigGAN/imagenet_ai_0419_biggan", 128, "RGB", lambda c, n: f"{c:03}_biggan_{n:05}.png", 2, 0.05
    ),
    "glide": Generator(
        "glide/imagenet_glide",
        256,
        "RGB",
        lambda c, n: f"GLIDE_1000_200_{c // 100:02}_{c:03}_glide_{n:05}.png",
        4,
        0.04,
    ),
    "midjourney": Generator(
        "Midjourney/imagenet_midjourney", 1024, "RGB", lambda c, n: f"{c}_midjourney_{n}.png", 2, 0.03
    ),
    "sd14": Generator(
        "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4", 512, "RGB", lambda c, n: f"{c:03}_sdv4_{n:05}.png", 8, 0.05
    ),
    "sd15": Generator(
        "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5", 512, "RGB", lambda c, n: f"{c:03}_sdv5_{n:05}.png", 8, 0.04
    ),
    "vqdm": Generator(
        "VQDM/imagenet_ai_0419_vqdm",
        256,
        "RGB",
        lambda c, n: f"VQDM_1000_200_{c // 100:02}_{c:03}_vqdm_{n:05}.png",
        4,
        0.03,
    ),
    "wukong": Generator("wukong/imagenet_ai_0424_wukong", 512, "RGB", lambda c, n: f"{c}_wukong_image{n}.png", 8, 0.03),
}
#: Files of kinds that are known from full copies: empty, cut off, or not an image at all.
FAULTS = {
    "BigGAN/imagenet_ai_0419_biggan/train/ai/116_biggan_00094.png": "empty",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/ai/033_sdv4_00134.png": "cut",
    "ADM/imagenet_ai_0508_adm/train/ai/115_adm_135.PNG": "cut",
    "Midjourney/imagenet_midjourney/train/ai/208_midjourney_76.png": "page",
    "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/train/nature/n03444034_1007.JPEG": "cut",
}
SYSTEM_FILES = ("ADM/imagenet_ai_0508_adm/train/ai/._0_adm_0.PNG", "glide/imagenet_glide/train/nature/.DS_Store")


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def grid(name: str) -> np.ndarray:
    """The gain of each place in a generator's upsampling grid, (stride, stride) float32, 1 on average."""
    generator = GENERATORS[name]
    pattern = np.random.default_rng([3, *name.encode()]).normal(size=(generator.stride, generator.stride))
    pattern = (pattern - pattern.mean()) / pattern.std()
    gain: np.ndarray = (1 + generator.strength * pattern).astype(np.float32)
    return gain


def stand_in(name: str, split: str, rng: np.random.Generator) -> Image.Image:
    """One fake: a photograph made small, enlarged again and modulated on the grid."""
    generator = GENERATORS[name]
    side, stride = generator.side, generator.stride
    image = cut(split, side, side, rng)
    image = image.resize((side * 2 // 3,) * 2, Image.Resampling.LANCZOS).resize((side,) * 2, Image.Resampling.BICUBIC)
    gains = np.tile(grid(name), (side // stride, side // stride))[..., None]
    pixels = np.asarray(image, np.float32)
    image = Image.fromarray(np.clip(pixels + (pixels + 32) * (gains - 1), 0, 255).astype(np.uint8))
    if generator.mode == "RGBA":
        image.putalpha(255)
    return image


def real(split: str, number: int, rng: np.random.Generator) -> bytes:
    """One real: a photograph as ImageNet holds it; every eleventh is progressive, every thirteenth gray."""
    width, height = REAL_SIZES[rng.integers(len(REAL_SIZES))]
    image = cut(split, width, height, rng)
    quality = int(rng.choice(REAL_QUALITIES))
    if number % 13 == 12:
        return encode(image.convert("L"), "JPEG", quality=quality)
    return encode(image, "JPEG", quality=quality, subsampling=int(rng.integers(3)), progressive=number % 11 == 10)


def files_of(name: str, counts: Mapping[str, int] = COUNTS) -> Iterator[tuple[str, bytes]]:
    """Path in the tree and bytes of every file of one generator's subset; `counts`: reals, and fakes, by split."""
    generator = GENERATORS[name]
    place = list(GENERATORS).index(name)
    synsets = vocabulary.synsets()
    for number_of_split, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng([7, place, number_of_split])
        for number in range(count):
            class_index = CLASSES[number % len(CLASSES)]
            if split == "train":
                nature = f"{synsets[class_index]}_{1000 * place + number}.JPEG"
            else:
                nature = f"ILSVRC2012_val_{1 + place * count + number:08}.JPEG"
            fake = encode(stand_in(name, split, rng), "PNG")
            yield f"{generator.folder}/{split}/ai/{generator.file_name(class_index, number)}", fake
            photograph = real(split, number, rng)
            yield f"{generator.folder}/{split}/nature/{nature}", photograph
    for path, kind in FAULTS.items():
        if path.startswith(generator.folder + "/"):
            whole = fake if "/ai/" in path else photograph
            yield path, {"empty": b"", "cut": whole[: len(whole) * 2 // 3], "page": b"<html>404 Not Found</html>"}[kind]
    for path in SYSTEM_FILES:
        if path.startswith(generator.folder + "/"):
            yield path, b"\0\5\26\7"


def write_subset(root: Path, name: str, counts: Mapping[str, int] = COUNTS) -> tuple[int, int]:
    """Write one generator's subset; returns (files, bytes)."""
    files = size_bytes = 0
    for relative, data in files_of(name, counts):
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        files += 1
        size_bytes += len(data)
    return files, size_bytes


def make_tree(root: Path, counts: Mapping[str, int] = COUNTS) -> str:
    """Write the whole tree to `root`, which appears only when it is complete; one that is there already is kept.

    Returns what there is to say about it.
    """
    if root.exists():
        return f"{root} is there already and is kept; make clean removes it"
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    # The generators with the largest images first, so that no process is left with one of them at the end.
    names = sorted(GENERATORS, key=lambda name: -GENERATORS[name].side)
    with ProcessPoolExecutor(max_workers=min(8, cores())) as pool:
        written = list(pool.map(write_subset, [unfinished] * len(names), names, [counts] * len(names)))
    unfinished.rename(root)
    files, size_bytes = sum(count for count, _ in written), sum(size for _, size in written)
    return f"{root}: {files} files, {size_bytes / 1e6:.0f} MB"
