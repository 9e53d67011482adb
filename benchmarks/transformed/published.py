"""DataLoader with what the detectors' own repositories call: Pillow or OpenCV, torchvision or albumentations, SciPy.

webdataset's DataLoader over the same shards, as `benchmarks/peers/webdataset_pillow.py`; each worker decodes,
transforms, converts and normalises one image after the other, as the published datasets do. Where published training
stops at images smaller than its crop, they are padded, as by ours. timm's RandomErasing is written out here.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

import benchmarks.torchvision_operators  # noqa: F401
from benchmarks.peers import Work, webdataset_pillow
from benchmarks.transformed import TRANSFORMS

TITLE = "as published"
PACKAGES = ("webdataset", "pillow", "torchvision", "scipy", "opencv-python-headless", "albumentations", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def picture(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def blur(pixels: np.ndarray, sigma: float) -> None:
    """CNNDetection's, in place: each pass truncates to uint8."""
    from scipy.ndimage import gaussian_filter

    for channel in range(3):
        gaussian_filter(pixels[:, :, channel], output=pixels[:, :, channel], sigma=sigma)


def jpeg(pixels: np.ndarray, quality: int) -> Any:
    """CNNDetection's: by OpenCV or Pillow, as a coin falls."""
    import cv2
    from PIL import Image

    if random.random() < 0.5:
        encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [int(cv2.IMWRITE_JPEG_QUALITY), quality])[1]
        decoded: Any = cv2.imdecode(encoded, 1)
        return decoded[:, :, ::-1]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="jpeg", quality=quality)
    return np.array(Image.open(file))


def blur_and_jpeg(image: Any, quality: Callable[[], int]) -> Any:
    from PIL import Image

    pixels = np.array(image)
    if random.random() < 0.5:
        blur(pixels, random.uniform(0, 3))
    if random.random() < 0.5:
        pixels = jpeg(pixels, quality())
    return Image.fromarray(pixels)


def erase(image: Tensor) -> Tensor:
    """timm's RandomErasing(0.6, mode="pixel") on a normalised image (3, h, w)."""
    if random.random() > 0.6:
        return image
    _, height, width = image.shape
    for _ in range(10):
        area = random.uniform(0.02, 1 / 3) * height * width
        ratio = math.exp(random.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            top, left = random.randint(0, height - h), random.randint(0, width - w)
            image[:, top : top + h, left : left + w] = torch.empty((3, h, w)).normal_()
            break
    return image


def mask(image: Tensor) -> Tensor:
    """SAFE's RandomMask(16, (0, 0.75), p=0.5) on a float image (3, h, w)."""
    if random.random() > 0.5:
        return image
    _, height, width = image.shape
    count = int(height * width * random.uniform(0, 0.75) / 256)
    cells = [(y, x) for y in range(height // 16) for x in range(width // 16)]
    covered = torch.ones_like(image)
    for y, x in random.sample(cells, count):
        covered[:, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = 0
    return image * covered


def chain(name: str) -> Callable[[bytes], Tensor]:
    """Bytes of a file to a float tensor (3, side, side)."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    from genimage_stream.loading.options import NORMALISATIONS

    mean, std = NORMALISATIONS[TRANSFORMS[name].normalize]  # type: ignore[index]
    crop_and_flip = [transforms.RandomCrop(224), transforms.RandomHorizontalFlip()]
    native_crop = [transforms.RandomCrop(224, pad_if_needed=True), transforms.RandomHorizontalFlip()]
    to_floats = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    resize = transforms.Resize(256)

    def either(*chosen: Any) -> Any:
        return transforms.RandomChoice(list(chosen))

    def cnnspot(image: Any) -> Any:
        return blur_and_jpeg(resize(image), lambda: random.randint(30, 100))

    def rine(image: Any) -> Any:
        return blur_and_jpeg(image, lambda: random.choice((30, 100)))

    filters = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC
    chains: dict[str, list[Any]] = {
        "cnnspot": [cnnspot, *crop_and_flip, *to_floats],
        "rine": [rine, *native_crop, *to_floats],
        "genimage-resnet50": [
            either(*(transforms.RandomResizedCrop(224, interpolation=one) for one in filters)),
            transforms.RandomHorizontalFlip(),
            *to_floats,
            erase,
        ],
        "safe": [
            transforms.RandomCrop(256, pad_if_needed=True),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(180),
            transforms.ColorJitter(0.5, 0.5, 0.5),
            transforms.ToTensor(),
            mask,
        ],
        "resize": [resize, *crop_and_flip, *to_floats],
        "random-resized-crop": [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            *to_floats,
        ],
    }
    composed = transforms.Compose(chains[name])
    return lambda data: composed(picture(data))


def drct() -> Callable[[bytes], Tensor]:
    """DRCT's first steps by albumentations, the image read by OpenCV."""
    import albumentations as A  # noqa: N812
    import cv2
    from albumentations.pytorch import ToTensorV2

    composed = A.Compose(
        [
            A.ImageCompression(quality_range=(30, 100), p=0.5),
            A.RandomScale(scale_limit=(-0.5, 0.5), p=0.2),
            A.PadIfNeeded(224, 224, border_mode=cv2.BORDER_CONSTANT, fill=0),
            A.RandomCrop(224, 224),
            A.Normalize(),
            ToTensorV2(),
        ]
    )

    def run(data: bytes) -> Tensor:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        found: Tensor = composed(image=cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))["image"]
        return found

    return run


def collate(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import cv2

    cv2.setNumThreads(0)
    decode = drct() if work.transform == "drct" else chain(work.transform)
    return webdataset_pillow.stream(work, decode, collate)
