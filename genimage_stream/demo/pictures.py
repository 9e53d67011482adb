"""Photograph-like pictures, drawn: surfaces in front of surfaces, with the spectrum and grain of photographs.

Reals are these, as JPEGs. Fakes are drawn small, enlarged, and modulated on the grid of the enlargement, the trace that
upsampling layers of generators leave; they are PNGs. That is enough to show the way of the data, not for any science.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genimage_stream import vocabulary
from genimage_stream.decode import native
from genimage_stream.page.picture import encode_png

Pixels = npt.NDArray[np.uint8]

COUNTS = {"train": 24, "val": 10}  # reals, and fakes, of each generator
#: Name in file names, folder as GenImage has it, side of its images in pixels.
GENERATORS = (("adm", "ADM/imagenet_ai_0508_adm", 256), ("biggan", "BigGAN/imagenet_ai_0419_biggan", 128))
SIZES = ((500, 375), (375, 500), (500, 333), (400, 300))  # width and height of reals
SURFACES = 40


def picture(width: int, height: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(height, width, 3), 0 to 255: discs of all sizes, the next in front of the last, each with a texture and light of
    its own. Their edges at all scales give the spectrum of photographs."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    texture = _texture(width, height, rng)
    image = np.empty((height, width, 3), np.float32)
    image[:] = _colour(rng) + 40 * texture[..., None]
    for _ in range(SURFACES):
        radius = min(width, height) * min(0.5, 0.02 / rng.uniform(0.02, 1))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        light = rng.normal(0, 0.3) * (columns - x)[inside] + rng.normal(0, 0.3) * (rows - y)[inside]
        shade = rng.uniform(0, 40) * texture[inside] + light
        image[inside] = _colour(rng) + shade[:, None]
    return image


def real(rng: np.random.Generator) -> bytes:
    """A JPEG."""
    width, height = SIZES[rng.integers(len(SIZES))]
    image = picture(width, height, rng)
    return native.encode_jpeg(_pixels(image + rng.normal(0, 3, image.shape)), int(rng.choice((75, 90, 96))))


def fake(side: int, rng: np.random.Generator) -> bytes:
    """A PNG of side x side pixels."""
    small = picture(side // 2, side // 2, rng)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    large[1:-1] = (large[:-2] + 2 * large[1:-1] + large[2:]) / 4
    large[:, 1:-1] = (large[:, :-2] + 2 * large[:, 1:-1] + large[:, 2:]) / 4
    gains = np.tile(np.array([[1.06, 0.98], [0.99, 0.97]], np.float32), (side // 2, side // 2))[..., None]
    return encode_png(_pixels(large * gains + rng.normal(0, 3, large.shape)))


def draw_tree(root: Path) -> Iterator[str]:
    """Write a small tree of GenImage's shape, one image after the other; yields the path of each within it."""
    synsets = vocabulary.synsets()
    for place, (name, folder, side) in enumerate(GENERATORS):
        for of_split, (split, count) in enumerate(COUNTS.items()):
            rng = np.random.default_rng([5, place, of_split])
            for number in range(count):
                synset = synsets[number % 10]
                nature = f"{synset}_{number}.JPEG" if split == "train" else f"ILSVRC2012_val_{number + 1:08}.JPEG"
                for path, data in (
                    (f"{folder}/{split}/nature/{nature}", real(rng)),
                    (f"{folder}/{split}/ai/{number % 10:03}_{name}_{number:05}.png", fake(side, rng)),
                ):
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).write_bytes(data)
                    yield path


def _colour(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Most are nearly gray, as in photographs."""
    return rng.uniform(20, 220) + rng.normal(0, 25, 3)


def _texture(width: int, height: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise whose amplitude falls with the frequency, (height, width), of mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    waves = np.fft.rfft2(rng.normal(size=(height, width))) / frequency**1.2
    waves[0, 0] = 0
    noise = np.fft.irfft2(waves, (height, width))
    scaled: npt.NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return scaled


def _pixels(image: npt.NDArray[np.floating]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return rounded
