"""The datasets of docs/datasets.md, made small after their cards and loaders: `scan` tells them with their lines."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import shard_tools_here

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"
LINES = re.findall(r"^\| ([^|]+?) \| (?:[^|]+?) \| (?:nothing|`([^|]+)`) \|$", DOCS.read_text(), re.MULTILINE)

Groups = set[tuple[str, str, str]]
REAL, FAKE = "real", "fake"


def put(root: Path, *folders: str, suffix: str = "png") -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            (root / folder / f"img{number:06d}.{suffix}").write_bytes(b"x")


def hub(path: Path, class_names: dict[str, list[str]] | None = None, **columns: Any) -> None:
    names = {name: {"_type": "ClassLabel", "names": words} for name, words in (class_names or {}).items()}
    rows = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def images(count: int) -> pa.Array:
    return pa.array([{"bytes": b"x", "path": f"{number}.jpg"} for number in range(count)])


def tarred(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:bz2" if path.suffix == ".bz2" else "w") as out:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            out.addfile(info, io.BytesIO(b"x"))


def both(split: str, *generators: str) -> Groups:
    return {(generator, split, label) for generator in generators for label in (REAL, FAKE)}


def fakes(split: str, *generators: str) -> Groups:
    return {(generator, split, FAKE) for generator in generators}


def reals(*splits: str) -> Groups:
    return {("real", split, REAL) for split in splits}


def labelled(folders: Iterable[str]) -> list[str]:
    return [f"{folder}/{label}" for folder in folders for label in ("0_real", "1_fake")]


def genimage(root: Path) -> Groups:
    return {(m.generator, m.split, m.label) for m in make_tree(root, count=1)}


def tiny_genimage(root: Path) -> Groups:
    names = {"label": ["real", "fake"], "generator": ["Real", "ADM", "BigGAN", "GLIDE"]}
    for split in ("train", "validation"):
        file = root / "data" / f"{split}-00000-of-00003.parquet"
        hub(file, names, image=images(4), label=[0, 1, 1, 1], generator=[0, 1, 2, 3])
    return {g for split in ("train", "val") for g in fakes(split, "adm", "biggan", "glide")} | reals("train", "val")


def forensynths_test(root: Path) -> Groups:
    put(root, *labelled(f"test/{gan}/{name}" for gan in ("progan", "stylegan2") for name in ("car", "horse", "train")))
    put(root, *labelled(f"test/{name}" for name in ("biggan", "crn", "deepfake", "whichfaceisreal")))
    return both("val", "progan", "stylegan2", "biggan", "crn", "deepfake", "whichfaceisreal")


def forensynths_train(root: Path) -> Groups:
    put(root, *labelled(f"progan_{s}/{name}" for s in ("train", "val") for name in ("airplane", "tvmonitor", "train")))
    return both("train", "progan") | both("val", "progan")


def aigcdetect(root: Path) -> Groups:
    put(root, *labelled(["test/progan/cat", "test/stylegan/bedroom", "test/ADM", "test/DALLE2", "test/SDXL"]))
    put(root, *labelled(["test/stable_diffusion_v_1_4", "test/cyclegan/winter"]))
    return both("val", "progan", "stylegan", "adm", "dalle2", "sdxl", "sd14", "cyclegan")


def aigcdetect_hub(root: Path) -> Groups:
    names = {"label": ["real", "fake"], "generator": ["Real", "ADM", "WhichFaceIsReal"]}
    hub(root / "data/test-00000-of-00065.parquet", names, image=images(3), label=[0, 1, 1], generator=[0, 1, 2])
    return fakes("val", "adm", "whichfaceisreal") | reals("val")


def universal(root: Path) -> Groups:
    names = ("dalle", "glide_100_10", "glide_50_27", "guided", "ldm_200_cfg")
    put(root, *(f"diffusion_datasets/{name}/1_fake" for name in names))
    put(root, "diffusion_datasets/imagenet/0_real", "diffusion_datasets/laion/0_real")
    return fakes("val", *names) | reals("val")


def diffusion_forensics(root: Path) -> Groups:
    found: Groups = set()
    for split, told in (("train", "train"), ("test", "val")):
        put(root, *(f"images/{split}/lsun_bedroom/{name}" for name in ("real", "adm", "ddpm", "stylegan")))
        put(root, *(f"images/{split}/{name}" for name in ("imagenet/real", "imagenet/adm", "celebahq/if")))
        found |= fakes(told, "adm", "ddpm", "stylegan", "if") | reals(told)
    return found


def dmimagedetection(root: Path) -> Groups:
    top = "latent_diffusion_trainingset"
    made = ("latent_diffusion_class2image", "latent_diffusion_text2img_set0")
    for split in ("train", "valid"):
        put(root, *(f"{top}/{split}/{name}" for name in (*made, "real_COCO", "real_LSUN")))
    return fakes("train", *made) | fakes("val", *made) | reals("train", "val")


def drct(root: Path) -> Groups:
    names = ("ldm-text2im-large-256", "stable-diffusion-v1-4", "sdxl-turbo", "lcm-lora-sdv1-5")
    put(root, *(f"DRCT-2M/{name}/{split}2017" for name in names for split in ("train", "val")))
    put(root, "MSCOCO/train2017", "MSCOCO/val2017", suffix="jpg")
    told = ("ldm-text2im-large-256", "sd14", "sdxl-turbo", "lcm-lora-sdv1-5")
    return fakes("train", *told) | fakes("val", *told) | reals("train", "val")


def chameleon(root: Path) -> Groups:
    put(root, *labelled(["Chameleon/test"]), suffix="jpg")
    return both("val", "chameleon")


def synthbuster(root: Path) -> Groups:
    names = ("dalle2", "firefly", "stable-diffusion-1-4", "midjourney-v5")
    put(root, *(f"synthbuster/{name}" for name in names))
    put(root, "RAISE-1k", suffix="TIF")
    (root / "synthbuster/prompts.csv").write_text("image name,prompt\nx,a dog\n")
    return fakes("val", "dalle2", "firefly", "sd14", "midjourney-v5") | reals("val")


def artifact(root: Path) -> Groups:
    for folder, target in (("stylegan2/car", 6), ("taming_transformer", 4), ("ffhq", 0), ("coco/coco2017/train", 0)):
        put(root, folder, suffix="jpg")
        top, _, rest = folder.partition("/")
        lines = [f"{n},{rest + '/' if rest else ''}img{n:06d}.jpg,{target},car" for n in range(2)]
        (root / top / "metadata.csv").write_text("\n".join(["filename,image_path,target,category", *lines, ""]))
    return fakes("val", "stylegan2", "taming_transformer") | reals("val", "train")


def cifake(root: Path) -> Groups:
    put(root / "CIFAKE", *(f"{split}/{label}" for split in ("train", "test") for label in ("REAL", "FAKE")))
    return both("train", "cifake") | both("val", "cifake")


def faces140k(root: Path) -> Groups:
    splits = ("train", "valid", "test")
    put(root, *(f"real_vs_fake/real-vs-fake/{split}/{label}" for split in splits for label in (REAL, FAKE)))
    return both("train", "real-vs-fake") | both("val", "real-vs-fake")


def wildfake(root: Path) -> Groups:
    put(root, "Fake/GAN/StyleGAN", "Fake/DM/DDPM", "Fake/DM/Midjourney", "Real/coco", "Real/ffhq", "Real/somewhere")
    return fakes("val", "stylegan", "ddpm", "midjourney") | reals("val")


def genimage_plus(root: Path) -> Groups:
    put(root, *labelled(["flux", "flux_photo", "sd3_photo"]))
    return both("val", "flux", "flux_photo", "sd3_photo")


def openfake(root: Path) -> Groups:
    columns = {"prompt": ["a", "b", "c"], "label": ["real", "fake", "fake"], "type": ["", "base", "lora"]}
    for split in ("train", "test"):
        file = root / "core" / f"{split}-00000-of-00500.parquet"
        models = [None, "flux.1-dev", "midjourney-6"]
        hub(file, image=images(3), **columns, model=models, release_date=["", "2024-08", "2023-12"])
    told = ("flux_1-dev", "midjourney-6")
    return fakes("train", *told) | fakes("val", *told) | reals("train", "val")


def community_forensics(root: Path, *, label: bool = True) -> Groups:
    models = ["someone/model-a", "someone/model.b", "real"] if label else ["someone/model-a", "someone/model.b", "x"]
    splits = ["train", "PublicEval", "train"]
    columns = {"image_name": ["0.png", "1.png", "2.png"], "image_data": [b"x"] * 3, "model_name": models}
    more = {"architecture": ["LatDiff"] * 3, "real_source": ["", "", "coco"], "split": splits}
    hub(root / "data/manual/part-0.parquet", **columns, **more, **({"label": [1, 1, 0]} if label else {}))
    found = fakes("train", "someone_model-a") | fakes("val", "someone_model_b")
    return found | (reals("train") if label else fakes("train", "x"))


def community_fakes(root: Path) -> Groups:
    return community_forensics(root, label=False)


def aigibench(root: Path) -> Groups:
    (root / "test").mkdir(parents=True)
    for name in ("DALLE-3", "FLUX1-dev", "BlendFace"):
        with zipfile.ZipFile(root / "test" / f"{name}.zip", "w") as archive:
            for label in ("0_real", "1_fake"):
                archive.writestr(f"{label}/a.png", b"x")
    return both("val", "dalle-3", "flux1-dev", "blendface")


def aigibench_hub(root: Path) -> Groups:
    names = {"label": ["real", "fake"], "generator": ["Real", "ProGAN", "SD14"]}
    for split in ("train", "validation"):
        file = root / "data" / f"{split}-00000-of-00009.parquet"
        hub(file, names, image=images(3), label=[0, 1, 1], generator=[0, 1, 2])
    told = ("progan", "sd14")
    return fakes("train", *told) | fakes("val", *told) | reals("train", "val")


def semi_truths(root: Path) -> Groups:
    for kind in ("inpainting", "prompt-based-editing"):
        file = root / kind / "CelebAHQ/StableDiffusion_XL/CelebAHQ_StableDiffusion_XL_2.tar.bz2"
        tarred(file, "CelebAHQ_SDXL_2/a.png", "CelebAHQ_SDXL_2/b.png")
        (file.parent / "CelebAHQ_StableDiffusion_XL_meta.csv").write_text("a,b\n1,2\n")
    tarred(root / "original/images/ADE20K.tar.bz2", "ADE20K/a.jpg")
    tarred(root / "original/masks/ADE20K.tar.bz2", "ADE20K/a.png")
    return fakes("val", "stablediffusion_xl") | reals("val")


def defactify(root: Path) -> Groups:
    names = {"Label_B": ["Real", "SD 2.1", "SDXL"]}
    for split in ("train", "test"):
        file = root / "data" / f"{split}-00000-of-00002.parquet"
        hub(file, names, Image=images(3), Caption=["c"] * 3, Label_A=[0, 1, 1], Label_B=[0, 1, 2])
    told = ("sd_2_1", "sdxl")
    return fakes("train", *told) | fakes("val", *told) | reals("train", "val")


def dfbench(root: Path) -> Groups:
    """Zips: fakes without a folder, reals as their databases have them."""
    inside = {"Janus_000001-040000": "", "sd3_medium_000001-040000": "", "edit": "edit/", "TID2013": "tid2013/"}
    inside |= {"partial_source": "partial_source/", "koniq10k_512x384": "512x384/", "CSIQ": "CSIQ/dst_imgs/blur/"}
    inside |= {name: f"{name}/Images/" for name in ("CLIVE", "LIVE", "Flick8kimg", "kadid10k")}
    root.mkdir()
    for name, folder in inside.items():
        with zipfile.ZipFile(root / f"{name}.zip", "w") as out:
            out.writestr(f"{folder}000001.jpg", b"x")
    (root / "img_test.json").write_text("[]")
    return fakes("val", "janus_000001-040000", "sd3_medium_000001-040000", "edit") | reals("val")


def img2dataset(root: Path) -> Groups:
    for number in range(2):
        names = [f"{number:05d}{n:04d}.{end}" for n in range(2) for end in ("jpg", "txt")]
        tarred(root / f"{number:05d}.tar", *names)
        hub(root / f"{number:05d}.parquet", url=["u"], caption=["c"])
    return reals("train")


def opensdi(root: Path) -> Groups:
    for folder, name in (("OpenSDI_train", "sd15"), ("OpenSDI_test", "sd15"), ("OpenSDI_test", "flux")):
        file = root / folder / "data" / f"{name}-00000-of-00007.parquet"
        keys = ["partial/1", "entire/2", "real/3"]
        hub(file, key=keys, image=images(3), mask=images(3), label=[1, 1, 0])
    return both("train", "sd15") | both("val", "sd15", "flux")


DATASETS: dict[str, Callable[[Path], Groups]] = {
    "GenImage": genimage,
    "Tiny-GenImage (Hub)": tiny_genimage,
    "ForenSynths (CNNSpot), test": forensynths_test,
    "ForenSynths (CNNSpot), train": forensynths_train,
    "AIGCDetectBenchmark": aigcdetect,
    "AIGCDetectBenchmark (Hub)": aigcdetect_hub,
    "UniversalFakeDetect": universal,
    "DiffusionForensics": diffusion_forensics,
    "DMimageDetection": dmimagedetection,
    "DRCT-2M": drct,
    "Chameleon": chameleon,
    "Synthbuster and RAISE-1k": synthbuster,
    "ArtiFact": artifact,
    "CIFAKE": cifake,
    "140k Real and Fake Faces": faces140k,
    "WildFake": wildfake,
    "GenImage++": genimage_plus,
    "OpenFake (Hub)": openfake,
    "Community Forensics (Hub)": community_forensics,
    "Community Forensics, fakes only": community_fakes,
    "AIGIBench": aigibench,
    "AIGIBench (Hub)": aigibench_hub,
    "Semi-Truths (Hub)": semi_truths,
    "Defactify, MS COCOAI (Hub)": defactify,
    "DFBench (Hub)": dfbench,
    "img2dataset, a set of reals": img2dataset,
    "OpenSDI (Hub)": opensdi,
}


def test_every_line_of_the_page_is_tested() -> None:
    assert [name for name, _ in LINES] == list(DATASETS)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_scan_tells_it_with_its_line(name: str, line: str, tmp_path: Path) -> None:
    expected = DATASETS[name](tmp_path / "src")
    done = shard_tools_here("scan", tmp_path / "src", *shlex.split(line), "--json")
    assert done.code == 0, done.err
    found = done.json
    assert {(g["generator"], g["split"], g["label"]) for g in found["groups"] if g["files"]} == expected
    assert found["rejected"] == 0, found["problems"]
    words = line.split()
    # DFBench's reals are in zips of eight names that say nothing.
    assert max(map(words.count, ("--map", "--columns", "--labels"))) <= (9 if name.startswith("DFBench") else 1)
