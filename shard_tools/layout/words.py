"""What one folder's name says by itself: a label, a split, a generator, or none of these.

The lists are of words that name no generator wherever they occur (classes of images, sources of photographs, folders
that only contain others) and of generators outside of GenImage. They decide between two folders of one path; a name
that is on no list is a new generator.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from genimage_stream.vocabulary import FAKE, LABEL_ALIASES, REAL, SPLIT_ALIASES, generator_alias, simplify

#: Folders of plain ImageNet: a pool of reals without a label folder.
POOL_FOLDERS = {"imagenet", "imagenet1k", "ilsvrc", "ilsvrc2012", "ilsvrc2012imgtrain", "ilsvrc2012imgval", "clsloc"}
#: Other sources of photographs: where no generator is named, what they hold is real.
PHOTOGRAPHS = {
    *("coco", "mscoco", "coco2014", "coco2017", "raise", "raise1k", "laion", "laion400m", "laion5b", "openimages"),
    *("flickr30k", "flickr8k", "redcaps", "cc3m", "cc12m", "sa1b", "ade20k"),
}
#: Sources that generators are trained on and sort their images by as well: a label has to come from elsewhere.
TRAINING_SETS = {
    *(
        "lsun",
        "celeba",
        "celebahq",
        "ffhq",
        "afhq",
        "afhqv2",
        "metfaces",
        "landscape",
        "wikiart",
        "cifar10",
        "cifar100",
    ),
    *(
        "places",
        "places365",
        "sunrgbd",
        "humanparsing",
        "imagenette",
        "tinyimagenet",
        "flickr",
        "cityscapes",
        "facades",
        "maps",
    ),
}
#: Folders that only contain others and name no generator.
CONTAINER_FOLDERS = {
    *("", "genimage", "ai", "data", "dataset", "datasets", "images", "image", "img", "imgs", "raw", "default", "files"),
    *("snapshots", "blobs", "refs", "parquet", "arrow", "shards", "webdataset", "hub", "all", "rgb", "png", "jpg"),
}
_CLASSES = """
aeroplane airplane apple automobile backpack banana baseballbat baseballglove bear bed bedroom bench bicycle bird
boat book bottle bowl bridge broccoli bus cake car carrot cat cellphone chair church churchoutdoor classroom clock
conferenceroom couch cow cup deer diningroom diningtable dog donut elephant face faces firehydrant flower flowers
fork frisbee frog giraffe hairdrier handbag horse hotdog human humans keyboard kitchen kite knife laptop livingroom
man microwave motorbike motorcycle mouse orange oven outdoorchurch parkingmeter person people pizza pottedplant
refrigerator remote restaurant sandwich scissors sheep ship sink skateboard skis snowboard sofa spoon sportsball
stopsign suitcase summer surfboard teddybear tennisracket tie toaster toilet toothbrush tower trafficlight truck tv
tvmonitor umbrella vase wild wineglass winter woman zebra
"""
#: Classes of LSUN, PASCAL VOC, COCO and CIFAR, and others that CNNSpot's test sets are divided by.
CLASSES = frozenset(_CLASSES.split())
#: Families of generators: they name one only where nothing else does.
FAMILIES = {
    *("gan", "gans", "dm", "dms", "diffusion", "diffusionmodels", "diffusions", "vae", "vaes", "ar", "others", "other"),
    *("autoregressive", "commercial", "opensource", "systematic", "manual", "publiceval", "core", "reddit"),
}
#: Of photographs that a generator changed in part.
EDITED = {"inpainting", "inpainted", "promptbasedediting"}
_KNOWN = re.compile(
    r"(?:pro|style|cycle|star|gau|cramer|infomax|mmd|rel|s3|sn|stt|att|be|big|dc|w|sa|vq|diffusion|projected|denoisingdiff"
    r"usion|gigapixel|giga)gan(?![a-su-z])"
    r"|(?:stablediffusion|latentdiffusion|ldm|ddpm|ddim|iddpm|pndm|adm|glide|dalle|sdxl|sd[v]?\d|sdturbo|pixart|kandinsky"
    r"|deepfloyd|imagen(?!et)|firefly|ideogram|midjourney|flux|hunyuan|playground|recraft|seedream|gptimage|wuerstchen"
    r"|openjourney|unidiffuser|paella|stylealae|styleswin|taming|vqdiffusion|gansformer|stablecascade|lcm|controlnet"
    r"|deepfakes?|whichfaceisreal|seeingdark|guided|projectedgan|starganv2|wukong|vqdm|infoswap|simswap|faceswap)"
    r"|(?:san|crn|imle|sitd|lama|mat)\Z"
)
_SPLIT_TOKEN = re.compile(r"(?P<word>train|training|val|valid|validation|test|testing)(?:set|split)?(?:\d{1,4})?\Z")
_FILLER = {"set", "split", "images", "image", "imgs", "img", "data", "files", "genimage", "dataset"}
_HUB_NAME = re.compile(r"(?:datasets--.+?--|.+?___)(?P<name>.+)\Z")
# Digests and version numbers of the Hub's caches.
_OF_CACHES = re.compile(r"(?:[0-9a-f]{32,64}|\d+\.\d+\.\d+)\Z")

SYNSET = re.compile(r"n\d{8}\Z")
_ARCHIVE_PREFIX = re.compile(r"imagenet(?:[_\- ]+ai(?=[_\- ]|\Z))?(?:[_\- ]+\d{4}(?=[_\- ]|\Z))?(?:[_\- ]+|\Z)")
_ARCHIVE_SUFFIX = re.compile(r"[_\- ]+imagenet\Z")
# What people append to a folder or archive name: "_extracted", "-new", " (1)", "-001"; "ADMnew" only where "ADM" is a
# listed name, for "scaffold" ends like that too.
_RENAME_WORD = re.compile(r"(?:extracted|unzipped|unpacked|untar|new|old|copy|full|zip)\Z")
_RENAME_SUFFIX = re.compile(rf"(?:[_\-. ]+{_RENAME_WORD.pattern}|[_\-. ]*\(\d+\)\Z|[_\-. ]+00\d\Z)")

LISTED, KNOWN, NEW, FAMILY = 3, 2, 1, 0  # how surely a name is a generator's


class Word(NamedTuple):
    """What a folder's name says; all empty: nothing, it only contains others."""

    generator: str | None = None
    rank: int = FAMILY
    split: str | None = None
    label: str | None = None
    source: bool = False  # of photographs, or of the images that a generator was trained on
    photographs: bool = False  # what it holds is real where no generator is named
    pure: bool = True  # the split is all that the name says


def folder_stem(name: str) -> str:
    """A folder's or archive's name without the trimmings of its distribution and of its user, lower case."""
    stem = name.lower().strip()
    while True:
        shorter = _RENAME_SUFFIX.sub("", stem)
        if shorter in (stem, ""):
            break
        stem = shorter
    word = _RENAME_WORD.sub("", stem)
    stem = word if generator_alias(word) else stem
    stem = _ARCHIVE_PREFIX.sub("", stem, count=1) if stem.startswith("imagenet") else stem
    return _ARCHIVE_SUFFIX.sub("", stem)


def generator_name(name: str) -> str:
    """The canonical name of a generator: its listed name, or the given one in the form `[a-z0-9_-]+`.

    A name that has nothing of these (of another script, say) becomes `gen-` and digits that are its own.
    """
    known = generator_alias(name)
    plain = known or re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")
    if plain or not name.strip():
        return plain
    form = unicodedata.normalize("NFC", name.strip().lower())  # disks differ in how they compose letters
    return "gen-" + hashlib.sha256(form.encode("utf-8", "surrogateescape")).hexdigest()[:8]


@lru_cache(maxsize=1 << 16)
def read_name(name: str) -> Word:
    """What a folder's name says by itself, in any letter case."""
    plain = simplify(name)
    if SYNSET.match(name.lower()):
        return Word()
    if plain in LABEL_ALIASES:
        return Word(label=LABEL_ALIASES[plain])
    if plain in EDITED:
        return Word(label=FAKE)
    if plain in SPLIT_ALIASES:
        return Word(split=SPLIT_ALIASES[plain])
    if plain in POOL_FOLDERS:
        return Word(source=True, photographs=True)
    stem = folder_stem(name)
    listed = generator_alias(stem)
    if listed:
        return Word(listed, LISTED)
    if _OF_CACHES.match(stem) or (simplify(stem) in CONTAINER_FOLDERS and (simplify(stem) or name.isascii())):
        return Word()
    said = _source(name.lower()) or _of_tokens(stem)
    if said:
        return said
    if simplify(stem) in CLASSES:
        return Word()
    hub = _HUB_NAME.match(stem)
    if hub:
        return Word(generator_name(hub["name"]), FAMILY)
    rank = FAMILY if simplify(stem) in FAMILIES else KNOWN if _KNOWN.match(simplify(stem)) else NEW
    return Word(generator_name(stem), rank)


def split_of_file(stem: str) -> str:
    """The part of a table's or tar's name that says a split or a known generator, as a folder of that name would;
    "" when it says neither: such a name is no generator's."""
    stem = re.sub(r"[-_.]\d{5}[-_]of[-_]\d{5}.*\Z", "", stem)  # train-00000-of-00012
    for part in (stem, re.sub(r"[-_.]*\d+\Z", "", stem)):
        word = read_name(part)
        if (word.generator and word.rank >= KNOWN) or (word.split and word.pure):
            return part
        if word.split:
            return word.split
    found = _SPLIT_TOKEN.match((_tokens(stem.lower()) or [""])[0])
    return found["word"] if found else ""


def _source(name: str) -> Word | None:
    """`lsun_bedroom`, `coco_val2017`, `real_COCO`: a source of images, and what else its name says."""
    tokens = _tokens(name)
    label = REAL if tokens[:1] in (["real"], ["reals"]) else None
    rest = tokens[1:] if label else tokens
    for count in (2, 1):
        head = "".join(rest[:count])
        known = head in TRAINING_SETS or head in PHOTOGRAPHS or head in POOL_FOLDERS
        if len(rest) < count or not known:
            continue
        split = None
        for token in rest[count:]:
            found = _SPLIT_TOKEN.match(token)
            split = SPLIT_ALIASES[found["word"]] if found else split
            if not (
                found or token in CLASSES or token in _FILLER or re.fullmatch(r"\d+[km]?|hq|val|x\d+|outdoor", token)
            ):
                return None
        return Word(split=split, label=label, source=True, photographs=head not in TRAINING_SETS)
    return None


def _of_tokens(stem: str) -> Word | None:
    """`train_set`, `val2017`, `fake_train`, `progan_train`: a split within a name, and what else it says."""
    tokens = _tokens(stem)
    splits = {SPLIT_ALIASES[m["word"]] for t in tokens if (m := _SPLIT_TOKEN.match(t))}
    labels = {LABEL_ALIASES[t] for t in tokens if t in LABEL_ALIASES}
    rest = [t for t in tokens if not (_SPLIT_TOKEN.match(t) or t in LABEL_ALIASES or t in _FILLER or t.isdigit())]
    if len(splits) > 1 or len(labels) > 1 or not (splits or labels):
        return None
    if not rest:
        return Word(split=next(iter(splits), None), label=next(iter(labels), None))
    at_end = _SPLIT_TOKEN.match(tokens[-1]) or (tokens[-1] in _FILLER and _SPLIT_TOKEN.match(tokens[-2]))
    if labels or not splits or not (at_end or _SPLIT_TOKEN.match(tokens[0])):
        return None
    name = re.sub(r"\A[_\-. ]+|[_\-. ]+\Z", "", _without_split(stem))
    listed = generator_alias(name)
    plain = simplify(name)
    if not listed and (plain in CLASSES or plain in CONTAINER_FOLDERS):
        return Word(split=next(iter(splits)))
    rank = LISTED if listed else FAMILY if plain in FAMILIES else KNOWN if _KNOWN.match(plain) else NEW
    if not at_end and rank < KNOWN:
        return None  # a name that begins with "test" may be anything
    return Word(generator_name(name), rank, next(iter(splits)), pure=False)


def _without_split(stem: str) -> str:
    word = r"(?:train|training|val|valid|validation|test|testing)(?:[_\- ]*(?:set|split))?(?:[_\- ]*\d{1,4})?"
    shorter = re.sub(rf"[_\-. ]+{word}(?:[_\- ]+(?:images?|imgs?|data))?\Z", "", stem)
    return shorter if shorter != stem else re.sub(rf"\A{word}[_\-. ]+", "", stem)


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[^a-z0-9]+", name) if token]
