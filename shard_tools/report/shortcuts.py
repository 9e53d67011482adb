"""How well one property of the file alone, without a look at the picture, separates real from fake.

A detector that can see the property may learn it instead of the traces of the generator. Two rules are tried on each:

* one threshold ("wider than 512 pixels: fake"), for numbers;
* a look-up of each value ("PNG: fake"), whatever order the values have. For numbers that hardly ever repeat (bytes) the
  look-up is by ranges of equal content.

Accuracy is balanced (the mean of the shares of reals and of fakes told rightly), so 50 % is chance whatever the mix. A
rule is found on one half of the samples and scored on the other, both ways round, or a look-up of values that occur
once would look perfect. AUC is the area under the ROC curve, of the number itself, or of the look-up's score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genimage_stream.page.scales import dimensions
from shard_tools.report.statistics import Column, Mask, Samples, Words

Counts = npt.NDArray[np.int64]  # (values, 2 labels, 2 halves)
Values = npt.NDArray[np.float64] | Column

REAL, FAKE = 0, 1
FEWEST = 4  # of each label, or nothing can be said


@dataclass(frozen=True)
class Feature:
    """A property of a file. `why` says in a sentence how a detector gets to see it, `remedy` what takes it away."""

    name: str
    why: str
    remedy: str
    values: Callable[[Samples], Values]
    write: Callable[[Samples, float], str]
    unit: str = ""
    ordered: bool = True  # a number: a threshold makes sense
    ranges: bool = False  # look up ranges, values hardly repeat
    among: Callable[[Samples], Mask] | None = None  # the rows that have the property


def _number(_: Samples, value: float) -> str:
    return f"{value:,.0f}"


def _word(words: Callable[[Samples], Words]) -> Callable[[Samples, float], str]:
    return lambda samples, value: words(samples).names[int(value)] if value >= 0 else "not known"


FEATURES = (
    Feature(
        "File format",
        "Every fake of GenImage is a PNG, nearly every real a JPEG: traces of JPEG compression give the label away.",
        "Compress all images as JPEG, at qualities drawn alike for both labels.",
        lambda s: s.format.codes.astype(np.int64),
        _word(lambda s: s.format),
        ordered=False,
    ),
    Feature(
        "Colour mode",
        "Gray, CMYK or transparent images occur on one side only; as RGB they keep traces, such as equal channels.",
        "Leave out what is not plain RGB, or turn some of both labels gray.",
        lambda s: s.mode.codes.astype(np.int64),
        _word(lambda s: s.mode),
        ordered=False,
    ),
    Feature(
        "Exact size",
        "A generator has one output size; resized to a common size, each size keeps its own traces of resampling.",
        "Crop without resizing, and keep reals whose sizes lie near the generator's.",
        lambda s: s.width << 32 | s.height,
        lambda _, v: dimensions(int(v) >> 32, int(v) & 0xFFFFFFFF),
        ordered=False,
    ),
    Feature(
        "Width",
        "Visible to a detector as the strength of resizing, as padding, or as the seams of tiling.",
        "Crop without resizing, from images larger than the crop on both sides of the label.",
        lambda s: s.width,
        _number,
        "pixels",
    ),
    Feature(
        "Height",
        "As the width.",
        "As for the width.",
        lambda s: s.height,
        _number,
        "pixels",
    ),
    Feature(
        "Number of pixels",
        "Sums up width and height: how much an image shrinks when it is resized to the detector's input.",
        "Crop without resizing; select by a window of sizes.",
        lambda s: s.pixels,
        _number,
        "pixels",
    ),
    Feature(
        "Aspect ratio",
        "Generators draw squares, cameras do not: squeezing a photograph to a square distorts it measurably.",
        "Never change the aspect ratio; crop.",
        lambda s: s.width / np.maximum(s.height, 1),
        lambda _, v: f"{v:.3g}",
    ),
    Feature(
        "File size",
        "Not visible in the pixels, but it sums up size, format and detail.",
        "What helps for size and format helps here.",
        lambda s: s.size_bytes,
        _number,
        "bytes",
        ranges=True,
    ),
    Feature(
        "Bytes per pixel",
        "How hard the image is to compress: format and quality first of all, then noise and detail.",
        "What helps for the format helps here.",
        lambda s: s.bytes_per_pixel,
        lambda _, v: f"{v:.3g}",
        ranges=True,
    ),
    Feature(
        "JPEG quality or none",
        "Quantisation steps stay measurable after decoding; images that were never JPEG have none.",
        "Compress all images as JPEG, at qualities drawn alike for both labels.",
        lambda s: s.jpeg_quality,
        lambda _, v: f"{v:.0f}" if v >= 0 else "no JPEG",
        ordered=False,
    ),
    Feature(
        "JPEG quality among the JPEGs",
        "What the quality tells beyond the format: needs JPEGs of both labels.",
        "Draw the quality alike for both labels.",
        lambda s: s.jpeg_quality,
        _number,
        among=lambda s: s.jpeg_quality >= 0,
    ),
)


@dataclass(frozen=True)
class Shortcut:
    """What one feature alone achieves. Accuracies are balanced, 0 to 1; NaN where a rule does not apply.

    `rule` is the better of the two in words; `reason`, when not empty, says why nothing could be computed.
    """

    feature: Feature
    threshold: float = float("nan")
    look_up: float = float("nan")
    auc: float = float("nan")
    rule: str = ""
    reason: str = ""

    @property
    def best(self) -> float:
        return float(np.fmax(self.threshold, self.look_up))


def measure(samples: Samples, feature: Feature, rows: Mask | None = None) -> Shortcut:
    """The shortcut by one feature among the rows given (all by default)."""
    keep = np.ones(samples.count, bool) if rows is None else rows
    if feature.among is not None:
        keep = keep & feature.among(samples)
    values, fake = feature.values(samples)[keep], samples.fake[keep]
    have = [int(len(fake) - fake.sum()), int(fake.sum())]
    if min(have) < FEWEST:
        what = "JPEGs" if feature.among is not None else "images"
        return Shortcut(feature, reason=f"too few to tell: {have[REAL]:,} real and {have[FAKE]:,} fake {what}")
    distinct, counts = count_values(values, fake, samples.half[keep])
    levels = into_ranges(counts) if feature.ranges else counts
    threshold, edge, fake_above = best_threshold(counts) if feature.ordered else (float("nan"), 0, True)
    looked_up, score_auc = best_look_up(levels)
    if feature.ordered and not threshold < looked_up - 0.005:
        limit = f"{feature.write(samples, float(distinct[edge]))} {feature.unit}".strip()
        low, high = ("real", "fake") if fake_above else ("fake", "real")
        rule = f"{low} up to {limit}, {high} above"
    elif feature.ranges:
        rule = "by ranges of values"
    else:
        rule = words_of(counts, lambda place: feature.write(samples, float(distinct[place])))
    auc = value_auc(counts) if feature.ordered else score_auc
    return Shortcut(feature, threshold, looked_up, max(auc, 1 - auc), rule)


def count_values(values: Values, fake: Mask, half: npt.NDArray[np.int8]) -> tuple[Values, Counts]:
    """Distinct values, rising, (k,) and how often each occurs per label and half, (k, 2, 2)."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "i" and high - low < 1 << 16:  # counting beats sorting
        codes, distinct = values - low, np.arange(low, high + 1)
    else:
        distinct, codes = np.unique(values, return_inverse=True)
    counts = np.bincount(codes * 4 + fake * 2 + half, minlength=4 * len(distinct)).reshape(-1, 2, 2)
    there = counts.any(axis=(1, 2))
    return distinct[there], counts[there]


def into_ranges(counts: Counts, most: int = 256) -> Counts:
    """Neighbouring values joined into at most `most` ranges of about equal content, fewer for few samples."""
    content = counts.sum(axis=(1, 2))
    wanted = int(np.clip(np.sqrt(content.sum()), 4, most))
    before = np.cumsum(content) - content
    starts = np.flatnonzero(np.diff(before * wanted // content.sum(), prepend=-1))
    return np.add.reduceat(counts, starts, axis=0)


def rates(counts: Counts, half: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shares of the reals and of the fakes of one half at each value, (k,) both."""
    part = counts[:, :, half].astype(np.float64)
    part /= np.maximum(part.sum(axis=0), 1)
    return part[:, REAL], part[:, FAKE]


def best_threshold(counts: Counts) -> tuple[float, int, bool]:
    """(cross-scored accuracy, place of the last value below the cut on all samples, whether fakes lie above)."""
    scores = []
    for half in (0, 1):
        real, fake = rates(counts, half)
        place, above = cut(real, fake)
        other_real, other_fake = rates(counts, 1 - half)
        lead = other_real[: place + 1].sum() - other_fake[: place + 1].sum()
        scores.append(0.5 + 0.5 * (lead if above else -lead))
    both = counts.sum(axis=2) / counts.sum(axis=(0, 2))
    place, above = cut(both[:, REAL], both[:, FAKE])
    return float(np.mean(scores)), place, above


def cut(real: npt.NDArray[np.float64], fake: npt.NDArray[np.float64]) -> tuple[int, bool]:
    """Where to cut to separate best, in the middle of equally good places, and whether fakes lie above."""
    lead = np.cumsum(real - fake)
    distance = np.abs(lead)
    best = np.flatnonzero(distance >= distance.max() - 1e-12)
    # Not across a gap: equally good places that do not touch are different cuts.
    run = best[: np.flatnonzero(np.diff(best, append=best[-1] + 2) > 1)[0] + 1]
    place = int(run[(len(run) - 1) // 2])
    return place, bool(lead[place] >= 0)


def best_look_up(counts: Counts) -> tuple[float, float]:
    """(cross-scored balanced accuracy, AUC) of the table value -> label; a value not seen before counts as a half."""
    accuracies, areas = [], []
    for half in (0, 1):
        real, fake = rates(counts, half)
        other_real, other_fake = rates(counts, 1 - half)
        says = np.sign(fake - real)  # 0: not seen, or undecided
        accuracies.append(0.5 + 0.25 * float((says * (other_fake - other_real)).sum()))
        score = np.divide(fake, fake + real, out=np.full(len(fake), 0.5), where=fake + real > 0)
        _, group = np.unique(score, return_inverse=True)
        areas.append(area(sums(group, other_real), sums(group, other_fake)))
    return float(np.mean(accuracies)), float(np.mean(areas))


def sums(group: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.bincount(group, weights).astype(np.float64)


def value_auc(counts: Counts) -> float:
    """How often a fake has the larger value than a real; equal ones count as a half."""
    both = counts.sum(axis=2) / counts.sum(axis=(0, 2))
    return area(both[:, REAL], both[:, FAKE])


def area(real: npt.NDArray[np.float64], fake: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve from the shares of both labels at rising values, (k,) each."""
    below = np.cumsum(real) - real
    return float((fake * (below + real / 2)).sum() / ((real.sum() * fake.sum()) or 1.0))


def words_of(counts: Counts, write: Callable[[int], str], most: int = 4) -> str:
    """The table value -> label in words: the values that speak most strongly for fake."""
    both = counts.sum(axis=2) / counts.sum(axis=(0, 2))
    lead = both[:, FAKE] - both[:, REAL]
    strong = [int(place) for place in np.argsort(-lead, kind="stable")[:most] if lead[place] > 0]
    if not strong:
        return "no value speaks for fake"
    more = int((lead > 0).sum()) - len(strong)
    values = " / ".join(write(place) for place in strong) + (f" and {more:,} more values" if more else "")
    return f"fake: {values}; all else real"
