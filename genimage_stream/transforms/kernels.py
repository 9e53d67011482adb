"""Weights of Gaussian blurs, computed as each library computes them: a last bit of a weight can move a pixel."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from genimage_stream.remedies import needing_torch

_OPENCV_SMALL = {  # getGaussianKernel's tables for sigma 0, in 1/256
    1: [256],
    3: [64, 128, 64],
    5: [16, 64, 96, 64, 16],
    7: [8, 28, 56, 72, 56, 28, 8],
    9: [4, 13, 30, 51, 60, 51, 30, 13, 4],
}


def scipy_weights(sigma: float) -> list[float]:
    """The centre's weight and those 1, 2, ... pixels away: scipy.ndimage's _gaussian_kernel1d with truncate=4."""
    if sigma <= 1e-15:
        return [1.0]
    radius = int(4.0 * float(sigma) + 0.5)
    places = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * places**2)
    weights = weights / weights.sum()
    found: list[float] = weights[radius::-1].tolist()
    return found


def scipy_weights_of_many(sigmas: npt.NDArray[np.float64]) -> list[list[float]]:
    """`scipy_weights` of each, to the bit: those of one radius are computed together."""
    radii = np.where(sigmas <= 1e-15, -1, (4.0 * sigmas + 0.5).astype(np.int64))
    found = [[1.0]] * len(sigmas)
    for radius in np.unique(radii[radii >= 0]).tolist():
        which = np.flatnonzero(radii == radius)
        places = np.arange(-radius, radius + 1)
        some = sigmas[which]
        weights = np.exp((-0.5 / (some * some))[:, None] * places**2)
        weights = weights / weights.sum(axis=1, keepdims=True)
        for i, one in zip(which.tolist(), weights[:, radius::-1].tolist(), strict=True):
            found[i] = one
    return found


def cv2_size(sigma: float) -> int:
    """The kernel size that cv2.GaussianBlur derives for 8-bit images: of 3 sigma on each side, odd."""
    return round(sigma * 6 + 1) | 1


def cv2_weights(size: int, sigma: float) -> list[int]:
    """cv2's fixed-point kernel in 1/256: each weight is rounded with the error of those before it.

    The rule is that of getGaussianKernelBitExact and getGaussianKernelFixedPoint_ED in OpenCV's smooth.dispatch.cpp.
    """
    if sigma <= 0 and size in _OPENCV_SMALL:
        return _OPENCV_SMALL[size]
    if sigma <= 0:
        sigma = size * 0.15 + 0.35
    variance = sigma * sigma
    scale = -0.125 / variance if variance > 0 else -math.inf
    half = size // 2
    outer = [math.exp(((1 - size + 2 * i) ** 2) * scale) for i in range(half)]
    factor = 1.0 / (sum(outer) * 2 + 1.0)
    weights: list[int] = []
    error = 0.0
    for value in outer:
        wanted = value * factor * 256.0 + error
        weights.append(round(wanted))
        error = wanted - weights[-1]
    return [*weights, 256 - 2 * sum(weights), *reversed(weights)]


def torch_weights(size: int, sigma: float) -> list[float]:
    """torchvision's kernel, rows first, as float32: _get_gaussian_kernel2d, computed by torch itself."""
    with needing_torch('GaussianBlur(like="torchvision")'):
        import torch

    limit = (size - 1) / (2.0 * math.sqrt(2.0))
    places = torch.linspace(-limit, limit, steps=size, dtype=torch.float32)
    row = torch.softmax(places.div(sigma).pow(2).neg(), dim=0)
    found: list[float] = (row.unsqueeze(-1) * row).flatten().tolist()
    return found
