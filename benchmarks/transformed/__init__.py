"""The same transform by this loader and by others, behind the interface of `benchmarks.peers`; a file each.

The work: every training image of plain shards once per epoch, through the transform that `Work.transform` names, as
normalised float32 batches. `published` runs what the detectors' own code runs, `fastest` the same operations by the
fastest public parts, `dali` what DALI has of them on the CPU, with its own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from genimage_stream.transforms import Step

OURS, PUBLISHED, FASTEST, DALI = (f"benchmarks.transformed.{name}" for name in ("ours", "published", "fastest", "dali"))


class Transform(NamedTuple):
    """`peers` in the order of the tables; `side` of the square images that come out."""

    title: str
    peers: tuple[str, ...] = (OURS, PUBLISHED, FASTEST)
    side: int = 224
    normalize: Literal["imagenet", "clip", "half", "none"] = "imagenet"


TRANSFORMS = {
    "cnnspot": Transform("CNNSpot and UnivFD, p 0.5", (OURS, PUBLISHED, FASTEST, DALI)),
    "rine": Transform("RINE", normalize="clip"),
    "genimage-resnet50": Transform("GenImage's ResNet-50 without RandAugment"),
    "drct": Transform("DRCT's JPEG, scale and crop"),
    "safe": Transform("SAFE", side=256, normalize="none"),
    "resize": Transform("Resize(256), RandomCrop(224), flip", (OURS, PUBLISHED, DALI)),
    "random-resized-crop": Transform("RandomResizedCrop(224), flip", (OURS, PUBLISHED, DALI)),
}


def steps(name: str) -> Sequence[Step]:
    """Our steps: those of the recipe, of DRCT's and GenImage's the part that is compared."""
    from genimage_stream import recipes
    from genimage_stream import transforms as T  # noqa: N812

    if name == "resize":
        return [T.Resize(256), T.RandomCrop(224), T.RandomHorizontalFlip()]
    if name == "random-resized-crop":
        return [T.RandomResizedCrop(224), T.RandomHorizontalFlip()]
    found = recipes.get(name).train or []
    if name == "drct":
        wanted = (T.JPEG, T.RandomScale, T.RandomCrop)
        return [step for step in found if isinstance(next(iter(leaves(step))), wanted)]
    return [step for step in found if not isinstance(step, T.Map)]


def leaves(step: Step) -> Sequence[Step]:
    """The innermost steps of one."""
    return [inner for inner in step.walk() if not hasattr(inner, "transforms")]
