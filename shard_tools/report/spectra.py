"""Mean spectra of each generator's reals and fakes: what upsampling leaves behind shows as points and crosses in them.

Of the luminance of a window in the middle of an image, in native resolution, after a Hann window: the mean over images
of the logarithm of the power spectrum, and the logarithm of the mean power spectrum of the residual, i.e. of what is
left when each pixel's 3x3 mean is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream import decode
from genimage_stream.vocabulary import LABELS
from shard_tools.report.statistics import Samples
from shard_tools.report.thumbnails import pictured, spread

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset

SIDE = 128  # pixels of the window; the smallest generator of GenImage draws as many
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Spectrum = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spectra:
    """Of one generator and label: (SIDE, SIDE) each, zero frequency in the middle; `images`: how many went in."""

    generator: str
    label: str
    images: int
    log_mean: Spectrum
    residual: Spectrum


def spectra(dataset: Dataset, samples: Samples, each: int) -> list[Spectra]:
    """Spectra from up to `each` images of every pictured generator and label, evenly spread over the index. Images
    smaller than the window and unreadable ones are passed over; a group without any other has no spectra."""
    large = (samples.width >= SIDE) & (samples.height >= SIDE)
    found = []
    for generator in pictured(samples.generators):
        for label in LABELS:
            rows = np.flatnonzero(samples.of(generator) & samples.of_label(label) & large)
            windows = [
                window for row in spread(rows, each) if (window := _window(dataset, samples, int(row))) is not None
            ]
            if windows:
                found.append(Spectra(generator, label, len(windows), *of_windows(np.stack(windows))))
    return found


def of_windows(windows: npt.NDArray[np.float32]) -> tuple[Spectrum, Spectrum]:
    """The two spectra of (n, SIDE, SIDE) windows of luminance."""
    plain = power(windows - windows.mean(axis=(1, 2), keepdims=True))
    log_mean = np.log(plain + 1.0).mean(axis=0)
    log_residual = np.log(power(residual(windows)).mean(axis=0) + 1e-3)
    return np.asarray(log_mean, np.float32), np.asarray(log_residual, np.float32)


def residual(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each pixel less the mean of the 3x3 pixels around it, edges repeated."""
    wide = np.pad(windows, ((0, 0), (1, 1), (1, 1)), mode="edge")
    side = windows.shape[-1]
    around = sum(wide[:, y : y + side, x : x + side] for y in range(3) for x in range(3))
    return np.asarray(windows - around / 9.0, np.float32)


def power(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The power spectra of windows after a Hann window, zero frequency in the middle."""
    hann = np.hanning(windows.shape[-1])
    return np.fft.fftshift(np.abs(np.fft.fft2(windows * np.outer(hann, hann))) ** 2, axes=(1, 2))


def _window(dataset: Dataset, samples: Samples, row: int) -> npt.NDArray[np.float32] | None:
    """(SIDE, SIDE) luminance from the middle of an image; None where it cannot be read."""
    x, y = (int(side[row]) - SIDE >> 1 for side in (samples.width, samples.height))
    try:
        return np.asarray(decode(dataset.access.read(row), crop=(x, y, SIDE, SIDE)) @ LUMA, np.float32)
    except (OSError, ValueError):  # `shard-tools verify` names it
        return None
