"""Recipes of detectors whose transforms are torchvision's on PIL images, with SciPy's blur and JPEG round trips."""

from __future__ import annotations

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.recipes import chains, five_pictures, hooks
from genimage_stream.recipes.recipe import Recipe


def _crop_and_flip(side: int) -> list[T.Step]:
    return [T.RandomCrop(side), T.RandomHorizontalFlip()]


def _native_crop(side: int) -> list[T.Step]:
    """Where published code crops images at their own size; see _SMALL."""
    return [T.RandomCrop(side, pad="zeros"), T.RandomHorizontalFlip()]


def _blur_and_jpeg(p: float, quality: T.Step) -> list[T.Step]:
    """CNNDetection's degradations, each on its own; by cv2 or by PIL, a JPEG has the same pixels."""
    return [T.RandomApply(T.GaussianBlur((0, 3)), p), T.RandomApply(quality, p)]


def _cnnspot(p: float) -> list[T.Step]:
    return [T.Resize(256), *_blur_and_jpeg(p, T.JPEG((30, 100))), *_crop_and_flip(224)]


def _squashed() -> list[T.Step]:
    """NPR's and its kin's."""
    return [T.Resize((256, 256)), *_crop_and_flip(224)]


def _five() -> T.Step:
    """AIDE's."""
    return T.Map(five_pictures.five_pictures, size=(5 * five_pictures.SIDE, five_pictures.SIDE))


def _dda() -> list[T.Step]:
    """Its images come as they are, smaller and larger, each as often; its JPEG leaves quality 100 out."""
    scales = [T.RandomScale(ends, filter=name) for ends in ((0.2, 1.0), (1.0, 3.5)) for name in chains.FILTERS]  # type: ignore[arg-type]
    blurs = [T.GaussianBlur((0.1, 2.0), side, like="torchvision") for side in (3, 5)]
    return [
        T.RandomApply(T.RandomChoice(scales), 2 / 3),
        T.RandomApply(T.JPEG((55, 99)), 0.15 * 45 / 46),
        T.RandomHorizontalFlip(),
        T.RandomVerticalFlip(),
        T.RandomApply(T.GaussianNoise(55 / 255), 0.1),
        T.RandomApply(T.Map(hooks.pepper), 0.1),
        T.RandomApply(T.RandomChoice([*blurs, T.Map(hooks.median_3), T.Map(hooks.motion_5)]), 0.2),
        T.RandomApply(T.Map(hooks.sharpen), 0.1),
        T.RandomApply(T.ColorJitter(0.4, 0.4, 0.4, 0.175), 0.2),
        T.RandomGrayscale(0.1),
        T.RandomCrop(336, pad="zeros", place="centre"),
    ]


_CNN = "PeterWang512/CNNDetection@ea0b562"
_SQUASHED_EVAL = (T.Resize((256, 256)),)
_SMALL = "The published training stops at images smaller than its crop; here zeros surround them, as in evaluation."
_ARTIFACTS = "HorizonTEL/AIGIBench@e9b95f8"

RECIPES = (
    Recipe(
        "cnnspot",
        "CNNDetection (CNNSpot), p 0.5",
        _CNN,
        train=_cnnspot(0.5),
        eval=[T.CenterCrop(224)],
        note="Also published: evaluation of whole images (--no_crop).",
    ),
    Recipe("cnnspot-0.1", "CNNDetection (CNNSpot), p 0.1", _CNN, train=_cnnspot(0.1), eval=[T.CenterCrop(224)]),
    Recipe(
        "univfd",
        "UniversalFakeDetect (UnivFD)",
        "WisconsinAIVision/UniversalFakeDetect@76a0e3e",
        train=_cnnspot(0.5),
        eval=[T.CenterCrop(224)],
        normalize="clip",
    ),
    Recipe("npr", "NPR", "chuangchuangtan/NPR-DeepfakeDetection@73cde1c", train=_squashed(), eval=[*_SQUASHED_EVAL]),
    Recipe(
        "npr-genimage",
        "NPR on GenImage",
        "the author's comment in issue 23 of chuangchuangtan/NPR-DeepfakeDetection",
        train=[T.Tile(224), *_crop_and_flip(224)],
        eval=[T.Tile(224), T.CenterCrop(224)],
        note="The evaluation is not stated; training's tiling and a centre crop are assumed.",
    ),
    Recipe("freqnet", "FreqNet", f"the copy in {_ARTIFACTS}", train=_squashed(), eval=[*_SQUASHED_EVAL]),
    Recipe(
        "fatformer",
        "FatFormer",
        "Michel-liu/FatFormer@febc24c",
        eval=[T.Resize((256, 256)), T.CenterCrop(224)],
        note="Training is not published.",
    ),
    Recipe(
        "c2p-clip",
        "C2P-CLIP",
        "chuangchuangtan/C2P-CLIP-DeepfakeDetection@27b5232",
        eval=[T.Resize(224), T.CenterCrop(224)],
        normalize="clip",
        note="Training is not published.",
    ),
    Recipe(
        "dire",
        "DIRE",
        "ZhendongWang6/DIRE@1f89fff",
        train=[T.Resize(256), *_crop_and_flip(224)],
        eval=[T.Resize(256), T.CenterCrop(224)],
        note="Of DIRE maps, which have to be packed in place of the images.",
    ),
    Recipe(
        "aeroblade",
        "AEROBLADE",
        "jonasricker/aeroblade@50fc2b2",
        eval=[],
        normalize="none",
        eval_views="whole",
        note="There is no training. The autoencoder maps the values to 2x - 1 itself.",
    ),
    Recipe(
        "aide",
        "AIDE",
        "shilinyan99/AIDE@6725b71",
        train=[
            T.RandomApply(T.GaussianBlur((0.1, 3.0), 3, like="torchvision"), 0.1),
            T.RandomApply(T.JPEG((30, 100)), 0.1),
            _five(),
        ],
        eval=[_five()],
        note="Five pictures one above the other, 1280x256: the patches of the lowest, highest, second lowest and "
        "second highest DCT grade, and the image. They are rounded to 8 bits, where published code goes on in floats. "
        "Training has kornia's blur, rounded, and Pillow's JPEG for kornia's differentiable one, which is missing.",
    ),
    Recipe(
        "safe",
        "SAFE",
        "Ouxiang-Li/SAFE@722620a",
        train=[
            T.RandomCrop(256, pad="zeros"),
            T.RandomHorizontalFlip(),
            T.RandomRotation(180),
            T.ColorJitter(0.5, 0.5, 0.5),
            T.RandomApply(T.PatchMask(16, (0, 0.75)), 0.5),
        ],
        eval=[T.CenterCrop(256)],
        normalize="none",
        note="Its zeros come after normalisation, of which there is none. Also published: evaluation of whole images.",
    ),
    Recipe(
        "patchcraft",
        "PatchCraft / RPTC",
        "the copy in mever-team/sidbench@b33f51c",
        train=[T.TexturePatches("patchcraft")],
        eval=[T.TexturePatches("patchcraft")],
        normalize="none",
        note="The picture of poor patches above that of rich ones: 512x256. The training's JPEG, blur and resize are "
        "named in the paper without their strengths and left out.",
    ),
    Recipe(
        "ssp",
        "SSP",
        "bcmi/SSP-AI-Generated-Image-Detection@38e9ab3",
        train=[T.TexturePatches("ssp")],
        eval=[T.TexturePatches("ssp")],
        note="The model resizes the patch of 32x32 to 256x256. Its labels are reversed: nature 1, ai 0. Blur (sigma "
        "0..1) and JPEG (90..100) come first and have p 0 by default.",
    ),
    Recipe(
        "lgrad",
        "LGrad",
        "chuangchuangtan/LGrad@7cb5973",
        train=_squashed(),
        eval=[*_SQUASHED_EVAL],
        note="Of gradient images, which have to be packed in place of the images.",
    ),
    Recipe(
        "b-free",
        "B-Free",
        "grip-unina/B-Free@c6a9f89",
        train=[
            T.Tile(504),
            T.RandomCrop(504),
            *_blur_and_jpeg(0.5, T.JPEG((30, 100))),
            T.RandomApply(T.CoarseDropout((1, 1), (48, 48), (48, 48), p=1.0), 0.2),
            T.RandomApply(T.GaussianNoise(var_limit=(10, 50)), 0.2),
            T.RandomApply(T.ColorJitter(0.4, 0.4, 0.4, 0.1), 0.8),
        ],
        eval=[],
        normalize=None,
        eval_views="whole",
        note="Training is not published. The README names its operations; order and strengths here are those of "
        "Corvi2023, by the same authors, and scaling is left out. Normalisation depends on the model's config.yaml.",
    ),
    Recipe(
        "rine",
        "RINE",
        "mever-team/rine@9b7fd58",
        train=[*_blur_and_jpeg(0.5, T.RandomChoice([T.JPEG(30), T.JPEG(100)])), *_native_crop(224)],
        eval=[T.CenterCrop(224)],
        normalize="clip",
        note=f"Qualities are 30 and 100, not between. {_SMALL} Ten crops, averaged, are rine-ten-crops.",
    ),
    Recipe(
        "rine-ten-crops",
        "RINE, ten crops",
        "mever-team/rine@9b7fd58",
        eval=[T.CenterCrop(224)],
        normalize="clip",
        eval_views="ten",
        note='Trained as "rine".',
    ),
    Recipe(
        "effort",
        "Effort",
        "YZY-stack/Effort-AIGI-Detection@96f5dea",
        train=[T.Tile(256), *_crop_and_flip(224)],
        eval=[T.Tile(256), T.CenterCrop(224)],
        normalize="clip",
    ),
    Recipe(
        "dda",
        "DDA",
        "roy-ch/Dual-Data-Alignment@21f1e39",
        train=_dda(),
        eval=[T.CenterCrop(336)],
        normalize="clip",
        note="What each image of a pair goes through, with one draw for both by `Loader(pairs=...)`, at one of the "
        "pair's three sizes. Missing: the other two sizes, the blending of the two, and JPEG at the real's quality.",
    ),
    Recipe(
        "community-forensics",
        "Community Forensics",
        "JeongsooP/Community-Forensics@5ec815f",
        train=[T.Resize(256), T.Map(chains.community_forensics, size=(224, 224))],
        eval=[T.Resize(256), T.CenterCrop(224)],
        note="Also published with 440 and 384 pixels.",
    ),
    Recipe(
        "aigcdetectbenchmark",
        "AIGCDetectBenchmark",
        "Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        train=_cnnspot(0.1),
        eval=[T.Resize(256), T.CenterCrop(224)],
        note="Normalisation is CLIP's for CLIP models. Also published: evaluation of whole images.",
    ),
    Recipe(
        "sidbench",
        "SIDBench",
        "mever-team/sidbench@b33f51c",
        eval=[T.Resize((256, 256)), T.CenterCrop(224)],
        note="Evaluates twelve detectors and trains none; normalisation is CLIP's for CLIP models.",
    ),
    Recipe(
        "corvi2023",
        "Corvi2023 / AlignedForensics / Stay-Positive",
        "AniSundar18/AlignedForensics@e4cc011, grip-unina/DMimageDetection@fdb5390",
        train=[
            T.RandomApply(T.RandomResizedCrop(256), 0.2),
            T.RandomApply(T.ColorJitter(0.4, 0.4, 0.4, 0.1), 0.8),
            T.RandomGrayscale(0.2),
            T.CoarseDropout((1, 1), (48, 48), (48, 48), p=0.2),
            T.RandomApply(T.GaussianNoise(var_limit=(10, 50)), 0.2),
            *_blur_and_jpeg(0.5, T.JPEG((30, 100))),
            T.RandomRotate90(),
            T.RandomHorizontalFlip(),
            T.RandomCrop(96, pad="symmetric"),
        ],
        eval=[],
        eval_views="whole",
        note="AlignedForensics' pairs of a real image and its reconstruction, with one draw for both: "
        "`Loader(pairs=...)`.",
    ),
    Recipe(
        "clipbased",
        "ClipBased-SyntheticImageDetection",
        "grip-unina/ClipBased-SyntheticImageDetection@c76ef7f",
        eval=[T.Resize(224, "bicubic"), T.CenterCrop(224)],
        normalize="clip",
        note="Training is not published.",
    ),
    Recipe(
        "d3",
        "D3",
        "BigAandSmallq/D3@14f21ad",
        train=_cnnspot(0.5),
        eval=[T.Resize((224, 224))],
        normalize="clip",
        note="The model shuffles patches of 14x14 on the GPU.",
    ),
    Recipe(
        "ladeda",
        "LaDeDa",
        "barcavia/RealTime-DeepfakeDetection-in-the-RealWorld@e734562",
        train=_squashed(),
        eval=[*_SQUASHED_EVAL],
    ),
    Recipe(
        "co-spy",
        "Co-Spy",
        "the port in scu-zjz/ForensicHub@da6b54e",
        train=[
            T.RandomHorizontalFlip(),
            T.RandomApply(T.JPEG((70, 95)), 0.5),
            T.Resize(224),
            T.RandomCrop(224),
        ],
        eval=[T.Resize(224), T.RandomCrop(224)],
        normalize="none",
        note="The model normalises its two inputs itself. Its evaluation crops at random.",
    ),
    *(
        Recipe(
            f"aigibench-{name.lower()}",
            f"AIGIBench's {name}",
            _ARTIFACTS,
            train=_native_crop(side),
            eval=[T.CenterCrop(side)],
            note=_SMALL,
            normalize="none" if name == "BSF" else "imagenet",
        )
        for name, side in (("DFFreq", 256), ("BSF", 128), ("Effort", 224))
    ),
)
