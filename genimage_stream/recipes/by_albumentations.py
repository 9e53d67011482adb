"""Recipes of detectors whose transforms are albumentations'.

Most were written for albumentations 1. Its ImageCompression, and version 2's, hands RGB to a codec that takes BGR.
What C++ has no step for is a function of genimage_stream.recipes.hooks, which calls albumentations 2.
"""

from __future__ import annotations

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.recipes import hooks
from genimage_stream.recipes.recipe import Recipe


def _jpeg(low: int, high: int) -> T.Step:
    return T.JPEG((low, high), channels="bgr")


def _blur(low: int, high: int) -> T.Step:
    return T.GaussianBlur(0.0, (low, high), like="cv2")


def _strong() -> list[T.Step]:
    """LASTED's, and LaRE2's with strong augmentation: one of four degradations, quarter turns, flips."""
    degradations = [
        _jpeg(50, 95),
        _blur(3, 7),
        T.GaussianNoise(var_limit=(3, 10)),
        T.RandomGrayscale(1.0, like="cv2"),
    ]
    across, down = T.RandomHorizontalFlip(1.0), T.RandomVerticalFlip(1.0)
    both = T.RandomApply([across, down], 1.0)
    return [
        T.RandomApply(T.RandomChoice(degradations), 0.5),
        T.RandomApply(T.RandomRotate90(), 0.33),
        T.RandomApply(T.RandomChoice([across, down, both]), 0.33),
    ]


def _forensics() -> list[T.Step]:
    """OpenSDI's and ForensicHub's: flips, brightness and contrast, JPEG, quarter turns, blur."""
    return [
        T.RandomHorizontalFlip(),
        T.RandomVerticalFlip(),
        T.RandomBrightnessContrast((-0.1, 0.1), (-0.1, 0.1), p=1.0),
        T.RandomApply(_jpeg(70, 100), 0.2),
        T.RandomApply(T.RandomRotate90(), 0.5),
        T.RandomApply(_blur(3, 7), 0.2),
    ]


def _reflected(side: int) -> T.Step:
    return T.RandomCrop(side, pad="reflect", place="centre")


_LARE2 = "luo3300612/LaRE@f8b2966"
_MAPS = "Its feature maps are joined by the samples' keys afterwards."

RECIPES = (
    Recipe(
        "drct",
        "DRCT",
        "beibuwandeluori/DRCT@01aa7d0",
        train=[
            T.RandomApply(_jpeg(30, 100), 0.5),
            T.RandomApply(T.RandomScale((0.5, 1.5), like="cv2"), 0.2),
            T.RandomHorizontalFlip(),
            T.RandomApply(T.GaussianNoise(var_limit=(10, 50)), 0.1),
            T.RandomApply(_blur(3, 7), 0.1),
            T.RandomApply(T.RandomRotate90(), 0.5),
            T.RandomCrop(224, pad="zeros", place="centre"),
            T.RandomApply(
                T.RandomChoice(
                    [
                        T.RandomBrightnessContrast(p=1.0),
                        T.Map(hooks.fancy_pca),
                        T.Map(hooks.hue_saturation_value),
                    ]
                ),
                0.5,
            ),
            T.RandomApply(
                T.RandomChoice([T.CoarseDropout((8, 8), (8, 8), (8, 8), p=1.0), T.Map(hooks.grid_dropout)]), 0.5
            ),
            T.RandomGrayscale(0.2, like="cv2"),
            T.RandomApply(T.Map(hooks.shift_scale_rotate), 0.5),
        ],
        eval=[T.CenterCrop(224, rounding="floor")],
        note="Normalisation is CLIP's for its UnivFD variant. The reconstructions are part of the data.",
    ),
    Recipe(
        "lare2",
        "LaRE2",
        _LARE2,
        train=[_reflected(224)],
        eval=[T.CenterCrop(224, pad="reflect", rounding="floor")],
        note=_MAPS,
    ),
    Recipe(
        "lare2-strong",
        "LaRE2, strong augmentation",
        _LARE2,
        train=[_reflected(224), *_strong()],
        eval=[T.CenterCrop(224, pad="reflect", rounding="floor")],
        note=f"Not among the published flags. {_MAPS}",
    ),
    Recipe(
        "deepfakebench",
        "DeepfakeBench",
        "SCLBD/DeepfakeBench@8a4a7bf",
        train=[
            T.Map(hooks.cubic_256, size=(256, 256)),
            T.RandomHorizontalFlip(),
            T.RandomApply(T.Map(hooks.rotate_10), 0.5),
            T.RandomApply(_blur(3, 7), 0.5),
            T.RandomApply(
                T.RandomChoice(
                    [
                        T.RandomBrightnessContrast((-0.1, 0.1), (-0.1, 0.1), p=1.0),
                        T.Map(hooks.fancy_pca),
                        T.Map(hooks.hue_saturation_value),
                    ]
                ),
                0.5,
            ),
            T.RandomApply(_jpeg(40, 100), 0.5),
        ],
        eval=[T.Map(hooks.cubic_256, size=(256, 256))],
        normalize="half",
        note="At its default resolution of 256, where its resize by the longest side changes nothing. Normalisation is "
        "CLIP's for CLIP models.",
    ),
    Recipe(
        "opensdi",
        "OpenSDI (MaskCLIP)",
        "iamwangyabin/OpenSDI@b1cf3c5",
        train=[T.RandomScale((0.8, 1.2), like="cv2"), *_forensics(), T.Resize((512, 512), like="cv2")],
        eval=[T.Resize((512, 512), like="cv2")],
        note="Masks are not transformed along with the images.",
    ),
    Recipe(
        "spai",
        "SPAI",
        "mever-team/spai@8ff7b3b",
        train=[
            T.RandomResizedCrop(224, (0.2, 1.0), like="cv2"),
            T.RandomHorizontalFlip(),
            T.RandomVerticalFlip(),
            T.RandomApply(T.Map(hooks.rotate_90_inside), 0.5),
            T.RandomApply(T.GaussianBlur((0.01, 0.5), (3, 9), like="cv2"), 0.5),
            T.RandomApply(T.GaussianNoise(var_limit=(10, 50)), 0.5),
            T.RandomApply(_jpeg(50, 100), 0.5),
        ],
        eval=[],
        normalize="none",
        eval_views="whole",
        note="One of its four views side by side. The model cuts whole images into patches and pads sides below 224.",
    ),
    Recipe(
        "lasted",
        "LASTED",
        "HighwayWu/LASTED@dbfb12b",
        train=[_reflected(448), *_strong()],
        eval=[T.CenterCrop(448, pad="reflect", rounding="floor")],
    ),
    Recipe(
        "forensichub",
        "ForensicHub (AIGC)",
        "scu-zjz/ForensicHub@da6b54e",
        train=[*_forensics(), T.Resize((224, 224), like="cv2")],
        eval=[T.Resize((224, 224), like="cv2")],
        note="image_size and normalisation are settings of each model; 224 and imagenet here.",
    ),
)
