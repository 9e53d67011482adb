"""Degradations by name beside the libraries that published code runs."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.transforms.degradations import PUBLISHED, steps_of_degradation
from tests.fixtures.shards import picture
from tests.genimage_stream.transforms.references import torchvision

Pixels = np.ndarray


def image(number: int = 0) -> Pixels:
    width, height = ((131, 97), (64, 80), (200, 201), (33, 47))[number % 4]
    noise = np.random.default_rng(number).integers(-30, 30, (height, width, 3))
    return np.clip(picture(number, width, height) + noise, 0, 255).astype(np.uint8)


def by_pillow(pixels: Pixels, kind: str, **options: object) -> Pixels:
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, kind, **options)
    return np.asarray(Image.open(to).convert("RGB"))


def by_scipy(pixels: Pixels, sigma: float) -> Pixels:
    return np.stack([gaussian_filter(pixels[..., c], sigma) for c in range(3)], axis=2)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def lowres(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    short, long = min(width, height), max(width, height)
    other = int(side * long / short)
    return resized(pixels, *((side, other) if width <= height else (other, side)))


def zoomed(pixels: Pixels, scale: float) -> Pixels:
    height, width = pixels.shape[:2]
    scale = float(np.float32(scale))  # torch's uniform_, which AEROBLADE draws it by
    w, h = round(width * scale), round(height * scale)
    x, y = round((width - w) / 2), round((height - h) / 2)
    return resized(pixels[y : y + h, x : x + w], width, height)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("jpeg:65", lambda p: by_pillow(p, "JPEG", quality=65)),
        ("jpeg:30", lambda p: by_pillow(p, "JPEG", quality=30)),
        ("blur:3", lambda p: by_scipy(p, 3)),
        ("blur:0.7", lambda p: by_scipy(p, 0.7)),
        ("blur:3:cv2:7", lambda p: cv2.GaussianBlur(p, (7, 7), 3)),
        ("resize:0.5", lambda p: resized(p, int(p.shape[1] * 0.5), int(p.shape[0] * 0.5))),
        ("resize:0.5:cv2", lambda p: cv2.resize(p, (int(p.shape[1] * 0.5), int(p.shape[0] * 0.5)))),
        ("resize:1.3", lambda p: resized(p, int(p.shape[1] * 1.3), int(p.shape[0] * 1.3))),
        ("lowres:112", lambda p: lowres(p, 112)),
        ("lowres:40", lambda p: lowres(p, 40)),
        ("crop:0.9", lambda p: zoomed(p, 0.9)),
        ("crop:0.5", lambda p: zoomed(p, 0.5)),
        ("crop:1", lambda p: p),
        ("blur:2+jpeg:50", lambda p: by_pillow(by_scipy(p, 2), "JPEG", quality=50)),
        ("none", lambda p: p),
    ],
)
def test_equals_the_library(text: str, plain: object) -> None:
    for number in range(4):
        pixels = image(number)
        assert np.array_equal(T.apply(pixels, steps_of_degradation(text)), plain(pixels)), number  # type: ignore[operator]


@pytest.mark.parametrize(("scale", "height"), [(0.9, 337), (0.7, 262), (0.5, 188)])
def test_aeroblades_crop_of_an_imagenet_photograph(scale: float, height: int) -> None:
    """Sides as the published code takes them of 375 pixels, run with torch 2: 337 at 0.9, not 338."""
    (draw,) = T.draws_of(np.zeros((375, 500, 3), np.uint8), steps_of_degradation(f"crop:{scale}"))
    assert draw["height"] == height == round(375 * torch.empty(1).uniform_(scale, scale).item())


def test_torchvisions_blur() -> None:
    v2, _ = torchvision()
    for number in range(3):
        plain = np.asarray(v2.GaussianBlur(9, 3.0)(Image.fromarray(image(number))))
        assert np.array_equal(T.apply(image(number), steps_of_degradation("blur:3:torchvision:9")), plain)


def test_noise_has_its_sigma() -> None:
    gray = np.full((300, 300, 3), 128, np.uint8)
    noise = T.apply(gray, steps_of_degradation("noise:0.05")).astype(float) - 128
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert abs(noise.mean()) < 0.2


def test_published_sets() -> None:
    assert gs.degradations("genimage") == ["lowres:112", "lowres:64", "jpeg:65", "jpeg:30", "blur:3", "blur:5"]
    assert gs.degradations("UnivFD")[:2] == ["jpeg:100", "jpeg:90"]
    assert {"aeroblade", "genimage", "sidbench", "univfd"} <= set(PUBLISHED)
    for name, (texts, source) in PUBLISHED.items():
        assert source
        assert "none" not in texts
        assert len(set(texts)) == len(texts) == len(gs.degradations(name))
        for text in texts:
            steps = steps_of_degradation(text)
            assert steps
            assert T.from_json(T.to_json(steps)) == list(steps)
            assert T.apply(image(), steps).dtype == np.uint8
    for wrong in ("genimages", 7):
        with pytest.raises(ValueError, match="there are aeroblade, aigcdetectbenchmark, genimage"):
            gs.degradations(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no ''; there are blur, crop, jpeg"),
        ("jpg:65", "there is no 'jpg'"),
        ("jpeg", "is not of the form jpeg:QUALITY, e.g. jpeg:65"),
        ("jpeg:", "is not of the form jpeg:QUALITY"),
        ("jpeg:65:4", "is not of the form jpeg:QUALITY"),
        ("jpeg:101", r"jpeg:QUALITY, e.g. jpeg:65 \(JPEG\(quality=101\): must be from 1 to 100\)"),
        ("jpeg:6.5", "is not of the form jpeg:QUALITY"),
        ("blur:x", "is not of the form blur:SIGMA"),
        ("blur:3:pillow:7", "is not of the form blur:SIGMA"),
        ("blur:3:cv2", "is not of the form blur:SIGMA"),
        ("blur:3:torchvision", "is not of the form blur:SIGMA"),
        ("blur:3:cv2:4", "odd numbers are needed"),
        ("blur:3:scipy:7", "is not of the form blur:SIGMA"),
        ("blur:nan", "is not of the form blur:SIGMA"),
        ("resize:0", r"RandomScale\(scale=0.0\)"),
        ("resize:0.5:torch", "is not of the form resize:FACTOR"),
        ("lowres:0", r"Resize\(size=0\)"),
        ("crop:1.1", r"CenterZoom\(scale=1.1\): must be from 0.001 to 1"),
        ("noise:-1", r"GaussianNoise\(sigma=-1.0\)"),
        ("webp:101", r"WebP\(quality=101\)"),
        ("blur:2+", "degradation 'blur:2\\+', '': there is no ''"),
        ("blur:2+jpeg:0", "degradation 'blur:2\\+jpeg:0', 'jpeg:0' is not of the form"),
        (65, "a text is needed"),
    ],
)
def test_texts_that_are_none(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        steps_of_degradation(text)  # type: ignore[arg-type]
