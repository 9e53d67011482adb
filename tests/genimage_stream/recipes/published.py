"""Published pipelines, written anew with the libraries that they use, with the values that a recipe drew.

Each entry is what a detector's own code does to a picture, from its repository; `draws` are only numbers. Gaussian
noise has a rule of ours and comes from our step.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.transforms.step import Draw
from genimage_stream.transforms.step import Image as Pixels
from tests.genimage_stream.transforms.references import cv2, torchvision

Pipeline = Callable[[Pixels, Iterator[Draw]], Any]


def inner(draw: Draw) -> Draw:
    """What is drawn for the one step inside of RandomApply, RandomChoice or OnlyIf."""
    found: Draw = draw["inner"][0]
    return found


def pil(image: Any) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image))


def resize(image: Any, size: Any, interpolation: str = "bilinear") -> Pixels:
    v2, functional = torchvision()
    size = [size] if isinstance(size, int) else list(size)
    return np.array(functional.resize(pil(image), size, interpolation=v2.InterpolationMode(interpolation)))


def center(image: Any, side: int) -> Pixels:
    return np.array(torchvision()[0].CenterCrop(side)(pil(image)))


def crop(image: Any, draw: Draw, side: int, mode: str = "constant") -> Pixels:
    """torchvision's RandomCrop with pad_if_needed: each short side gets the whole difference at both ends."""
    down, across = (max(side - length, 0) for length in image.shape[:2])
    padded = np.pad(image, ((down, down), (across, across), (0, 0)), mode=mode)  # type: ignore[call-overload]
    y, x = draw["y"] + down, draw["x"] + across
    found: Pixels = padded[y : y + side, x : x + side]
    return found


def flip(image: Any, draw: Draw) -> Pixels:
    return np.array(torchvision()[1].hflip(pil(image))) if draw["applied"] else image


def flip_down(image: Any, draw: Draw) -> Pixels:
    return np.array(torchvision()[1].vflip(pil(image))) if draw["applied"] else image


def quarter(image: Any, draw: Draw) -> Pixels:
    return np.rot90(image, draw["angle"] // 90)


def scipy_blur(image: Any, sigma: float) -> Pixels:
    found = np.array(image)
    for channel in range(3):
        gaussian_filter(found[:, :, channel], output=found[:, :, channel], sigma=sigma)
    return found


def cv2_jpeg(image: Any, quality: int) -> Pixels:
    encoded = cv2().imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2().IMWRITE_JPEG_QUALITY, quality])[1]
    found: Pixels = cv2().imdecode(encoded, 1)[:, :, ::-1]
    return found


def pil_jpeg(image: Any, quality: int) -> Pixels:
    file = io.BytesIO()
    pil(image).save(file, format="jpeg", quality=quality)
    return np.array(Image.open(file))


def jpeg(image: Any, quality: int) -> Pixels:
    """By one codec or the other, as a coin decides in the published code."""
    return (cv2_jpeg if quality % 2 else pil_jpeg)(image, quality)


def albumentations_jpeg(image: Any, quality: int) -> Pixels:
    """RGB as it is into a codec that takes BGR."""
    encoded = cv2().imencode(".jpg", np.ascontiguousarray(image), [cv2().IMWRITE_JPEG_QUALITY, quality])[1]
    found: Pixels = cv2().imdecode(encoded, 1)
    return found


def maybe(image: Any, draw: Draw, change: Callable[[Any, Draw], Any]) -> Any:
    return change(image, inner(draw)) if draw["applied"] else image


def blur_and_jpeg(image: Any, draws: Iterator[Draw]) -> Any:
    image = maybe(image, next(draws), lambda im, d: scipy_blur(im, d["sigma"]))
    return maybe(image, next(draws), lambda im, d: jpeg(im, d["quality"]))


def cnnspot(image: Pixels, draws: Iterator[Draw]) -> Any:
    next(draws)
    image = blur_and_jpeg(resize(image, 256), draws)
    return flip(crop(image, next(draws), 224), next(draws))


def squashed(image: Pixels, draws: Iterator[Draw]) -> Any:
    next(draws)
    return flip(crop(resize(image, (256, 256)), next(draws), 224), next(draws))


def duplicated(image: Pixels, side: int) -> Pixels:
    height, width = image.shape[:2]
    if min(height, width) >= side:
        return image
    return np.tile(image, (-(-side // height), -(-side // width), 1))


def tiled(side: int) -> Pipeline:
    def run(image: Pixels, draws: Iterator[Draw]) -> Any:
        next(draws)
        return flip(crop(duplicated(image, side), next(draws), 224), next(draws))

    return run


def dire(image: Pixels, draws: Iterator[Draw]) -> Any:
    next(draws)
    return flip(crop(resize(image, 256), next(draws), 224), next(draws))


def jitter(image: Any, draw: Draw) -> Any:
    functional, picture = torchvision()[1], pil(image)
    for which in draw["order"]:
        name = ("brightness", "contrast", "saturation", "hue")[which]
        if draw[name] is not None:
            picture = getattr(functional, f"adjust_{name}")(picture, draw[name])
    return np.array(picture)


def safe(image: Pixels, draws: Iterator[Draw]) -> Any:
    image = flip(crop(image, next(draws), 256), next(draws))
    image = np.array(torchvision()[1].rotate(pil(image), next(draws)["angle"]))
    image = jitter(image, next(draws))
    mask = next(draws)
    if mask["applied"]:
        for cell in inner(mask)["cells"]:
            y, x = cell // 16 * 16, cell % 16 * 16
            image[y : y + 16, x : x + 16] = 0
    return image


def texture(patch: Any) -> int:
    values = patch.astype(np.int64)
    pairs = (
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[1:, :-1], values[:-1, 1:]),
    )
    return int(sum(np.abs(a - b).sum() for a, b in pairs))


def patches(image: Any, draw: Draw) -> list[Any]:
    return sorted((image[y : y + 32, x : x + 32] for x, y in draw["corners"]), key=texture)


def ssp(image: Pixels, draws: Iterator[Draw]) -> Any:
    return patches(image, next(draws))[0]


def patchcraft(image: Pixels, draws: Iterator[Draw]) -> Any:
    found = patches(image, next(draws))
    square = lambda chosen: np.vstack([np.hstack(chosen[i : i + 8]) for i in range(0, 64, 8)])  # noqa: E731
    return np.vstack([square(found[:64]), square(found[::-1][:64])])


def rine(image: Pixels, draws: Iterator[Draw]) -> Any:
    image = maybe(image, next(draws), lambda im, d: scipy_blur(im, d["sigma"]))
    image = maybe(image, next(draws), lambda im, d: jpeg(im, inner(d)["quality"]))
    return flip(crop(image, next(draws), 224), next(draws))


def noise(image: Any, draw: Draw) -> Any:
    return T.apply(np.ascontiguousarray(image), [T.GaussianNoise()], [draw])


def erased(image: Any, draw: Draw) -> Any:
    image = np.array(image)
    for x, y, width, height in draw["holes"]:
        image[y : y + height, x : x + width] = 0
    return image


def gray(image: Any, draw: Draw) -> Any:
    if not draw["applied"]:
        return image
    return np.array(torchvision()[1].rgb_to_grayscale(pil(image), num_output_channels=3))


def boxed(image: Any, draw: Draw, side: int, interpolation: str = "bilinear") -> Any:
    v2, functional = torchvision()
    box = draw["y"], draw["x"], draw["height"], draw["width"]
    mode = v2.InterpolationMode(interpolation)
    return np.array(functional.resized_crop(pil(image), *box, [side, side], interpolation=mode))


def corvi(image: Pixels, draws: Iterator[Draw]) -> Any:
    image = maybe(image, next(draws), lambda im, d: boxed(im, d, 256))
    image = maybe(image, next(draws), jitter)
    image = gray(image, next(draws))
    holes = next(draws)
    image = erased(image, holes) if holes["applied"] else image
    image = maybe(image, next(draws), noise)
    image = blur_and_jpeg(image, draws)
    return crop(flip(quarter(image, next(draws)), next(draws)), next(draws), 96, "symmetric")


def bfree(image: Pixels, draws: Iterator[Draw]) -> Any:
    next(draws)
    image = blur_and_jpeg(crop(duplicated(image, 504), next(draws), 504), draws)
    image = maybe(image, next(draws), lambda im, d: erased(im, d) if d["applied"] else im)
    return maybe(maybe(image, next(draws), noise), next(draws), jitter)


def cospy(image: Pixels, draws: Iterator[Draw]) -> Any:
    image = flip(image, next(draws))
    image = resize(maybe(image, next(draws), lambda im, d: jpeg(im, d["quality"])), 224)
    next(draws)
    return crop(image, next(draws), 224)


def cropped(side: int) -> Pipeline:
    return lambda image, draws: flip(crop(image, next(draws), side), next(draws))


# ---- albumentations ----


def cv2_blur(image: Any, draw: Draw) -> Any:
    return cv2().GaussianBlur(np.ascontiguousarray(image), (draw["kernel_size"],) * 2, draw["sigma"])


def cv2_resize(image: Any, size: tuple[int, int]) -> Any:
    return cv2().resize(np.ascontiguousarray(image), size, interpolation=cv2().INTER_LINEAR)


def scaled(image: Any, draw: Draw) -> Any:
    return cv2_resize(image, (int(image.shape[1] * draw["factor"]), int(image.shape[0] * draw["factor"])))


def brightness_contrast(image: Any, draw: Draw) -> Any:
    table = np.arange(256, dtype=np.float32) * (1 + draw["contrast"]) + draw["brightness"] * 255
    return np.clip(table, 0, 255).astype(np.uint8)[image]


def cv2_gray(image: Any, draw: Draw) -> Any:
    return cv2().cvtColor(cv2().cvtColor(np.ascontiguousarray(image), cv2().COLOR_RGB2GRAY), cv2().COLOR_GRAY2RGB)


def padded_crop(image: Any, draw: Draw, side: int, border: int) -> Any:
    """PadIfNeeded, centred, and a RandomCrop."""
    down, across = (max(side - length, 0) for length in image.shape[:2])
    edges = (down // 2, down - down // 2, across // 2, across - across // 2)
    padded = cv2().copyMakeBorder(np.ascontiguousarray(image), *edges, border)
    y, x = draw["y"] + edges[0], draw["x"] + edges[2]
    return padded[y : y + side, x : x + side]


def bgr_jpeg(image: Any, draw: Draw) -> Any:
    return albumentations_jpeg(image, draw["quality"])


def strong(image: Any, draws: Iterator[Draw]) -> Any:
    draw = next(draws)
    if draw["applied"]:
        choice = inner(draw)
        image = (bgr_jpeg, cv2_blur, noise, cv2_gray)[choice["chosen"]](image, inner(choice))
    image = maybe(image, next(draws), quarter)
    draw = next(draws)
    if draw["applied"]:
        image = (image[:, ::-1], image[::-1], image[::-1, ::-1])[inner(draw)["chosen"]]
    return image


def reflected(side: int, then: Pipeline) -> Pipeline:
    return lambda image, draws: then(padded_crop(image, next(draws), side, cv2().BORDER_REFLECT_101), draws)


def forensichub(image: Any, draws: Iterator[Draw]) -> Any:
    image = flip_down(flip(image, next(draws)), next(draws))
    image = brightness_contrast(image, next(draws))
    image = maybe(image, next(draws), bgr_jpeg)
    image = maybe(image, next(draws), quarter)
    return maybe(image, next(draws), cv2_blur)


TRAIN: dict[str, Pipeline] = {
    "cnnspot": cnnspot,
    "cnnspot-0.1": cnnspot,
    "univfd": cnnspot,
    "aigcdetectbenchmark": cnnspot,
    "d3": cnnspot,
    "npr": squashed,
    "freqnet": squashed,
    "lgrad": squashed,
    "ladeda": squashed,
    "npr-genimage": tiled(224),
    "effort": tiled(256),
    "dire": dire,
    "safe": safe,
    "ssp": ssp,
    "patchcraft": patchcraft,
    "b-free": bfree,
    "rine": rine,
    "corvi2023": corvi,
    "co-spy": cospy,
    "aigibench-dffreq": cropped(256),
    "aigibench-bsf": cropped(128),
    "aigibench-effort": cropped(224),
    "lare2": reflected(224, lambda image, draws: image),
    "lare2-strong": reflected(224, strong),
    "lasted": reflected(448, strong),
    "forensichub": lambda image, draws: cv2_resize(forensichub(image, draws), (224, 224)),
    "opensdi": lambda image, draws: cv2_resize(forensichub(scaled(image, next(draws)), draws), (512, 512)),
}


def padded_center(image: Any, side: int, border: int) -> Any:
    """albumentations' PadIfNeeded and CenterCrop."""
    down, across = (max(side - length, 0) for length in image.shape[:2])
    image = cv2().copyMakeBorder(image, down // 2, down - down // 2, across // 2, across - across // 2, border)
    y, x = ((length - side) // 2 for length in image.shape[:2])
    return image[y : y + side, x : x + side]


EVAL: dict[str, Pipeline] = {
    "cnnspot": lambda image, draws: center(image, 224),
    "cnnspot-0.1": lambda image, draws: center(image, 224),
    "univfd": lambda image, draws: center(image, 224),
    "rine": lambda image, draws: center(image, 224),
    "rine-ten-crops": lambda image, draws: center(image, 224),
    "safe": lambda image, draws: center(image, 256),
    "dda": lambda image, draws: center(image, 336),
    "aigibench-dffreq": lambda image, draws: center(image, 256),
    "aigibench-bsf": lambda image, draws: center(image, 128),
    "aigibench-effort": lambda image, draws: center(image, 224),
    "npr": lambda image, draws: resize(image, (256, 256)),
    "freqnet": lambda image, draws: resize(image, (256, 256)),
    "lgrad": lambda image, draws: resize(image, (256, 256)),
    "ladeda": lambda image, draws: resize(image, (256, 256)),
    "d3": lambda image, draws: resize(image, (224, 224)),
    "npr-genimage": lambda image, draws: center(duplicated(image, 224), 224),
    "effort": lambda image, draws: center(duplicated(image, 256), 224),
    "fatformer": lambda image, draws: center(resize(image, (256, 256)), 224),
    "sidbench": lambda image, draws: center(resize(image, (256, 256)), 224),
    "c2p-clip": lambda image, draws: center(resize(image, 224), 224),
    "clipbased": lambda image, draws: center(resize(image, 224, "bicubic"), 224),
    "dire": lambda image, draws: center(resize(image, 256), 224),
    "aigcdetectbenchmark": lambda image, draws: center(resize(image, 256), 224),
    "community-forensics": lambda image, draws: center(resize(image, 256), 224),
    "genimage-resnet50": lambda image, draws: center(resize(image, 256, "bicubic"), 224),
    "genimage-swin-t": lambda image, draws: center(resize(image, 256, "bicubic"), 224),
    "genimage-deit-s": lambda image, draws: center(resize(image, 256, "bicubic"), 224),
    "grommelt": lambda image, draws: center(resize(pil_jpeg(image, 96), 256, "bicubic"), 224),
    "ssp": ssp,
    "patchcraft": patchcraft,
    "drct": lambda image, draws: padded_center(image, 224, cv2().BORDER_CONSTANT),
    "lare2": lambda image, draws: padded_center(image, 224, cv2().BORDER_REFLECT_101),
    "lare2-strong": lambda image, draws: padded_center(image, 224, cv2().BORDER_REFLECT_101),
    "lasted": lambda image, draws: padded_center(image, 448, cv2().BORDER_REFLECT_101),
    "opensdi": lambda image, draws: cv2_resize(image, (512, 512)),
    "forensichub": lambda image, draws: cv2_resize(image, (224, 224)),
    "deepfakebench": lambda image, draws: cv2().resize(image, (256, 256), interpolation=cv2().INTER_CUBIC),
    "co-spy": lambda image, draws: crop(resize(image, 224), (next(draws), next(draws))[1], 224),
}
