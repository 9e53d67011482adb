"""Folder layouts met on real disks: the same images give the same tars from all of them."""

from __future__ import annotations

import json
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shard_tools.errors import ToolError
from shard_tools.layout.mapping import parse_mapping
from shard_tools.layout.place import Place, place_of
from shard_tools.layout.words import generator_name
from tests.fixtures.genimage import LAYOUTS, fake_png, make_layout, make_tree, real_jpeg
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here, tars


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ADM/imagenet_ai_0508_adm/train/ai", ("adm", "train", "fake")),
        ("imagenet_ai_0419_biggan/val/nature", ("biggan", "val", "real")),
        ("imagenet_glide/train/ai", ("glide", "train", "fake")),
        ("IMAGENET_MIDJOURNEY/TRAIN/AI", ("midjourney", "train", "fake")),
        ("stable_diffusion_v_1_4/train/nature", ("sd14", "train", "real")),
        ("stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/ai", ("sd15", "val", "fake")),
        ("test/sdv4_imagenet/ai", ("sd14", "val", "fake")),
        ("test/wukong_imagenet/nature", ("wukong", "val", "real")),
        ("train/VQDM/0_real", ("vqdm", "train", "real")),
        ("biggan/1_fake", ("biggan", None, "fake")),
        ("ADMnew/train/ai", ("adm", "train", "fake")),
        ("imagenet_ai_0508_adm_extracted/train/ai", ("adm", "train", "fake")),
        ("imagenet_ai_0419_sdv4 (1)/val/ai", ("sd14", "val", "fake")),
        ("imagenet_ai/train/ai", (None, "train", "fake")),
        ("genimage/train/nature", (None, "train", "real")),
        ("FLUX.1-dev/train/ai", ("flux_1-dev", "train", "fake")),
        ("imagenet_ai_0601_flux/train/ai", ("flux", "train", "fake")),
        ("ILSVRC2012/train/n01440764", ("real", "train", "real")),
        ("imagenet/val", ("real", "val", "real")),
        ("nature/train/n01440764", (None, "train", "real")),
        ("midjourney/train", ("midjourney", "train", None)),
        ("valid/sdv5_imagenet/real", ("sd15", "val", "real")),
    ],
)
def test_place_of(path: str, expected: tuple[str | None, ...]) -> None:
    place = place_of(path.split("/"))
    assert (place.generator, place.split, place.label) == expected


def test_context_above_the_source() -> None:
    """SRC may itself be a generator's folder or a split's; names above it count only when they are known ones."""
    assert place_of(["train", "ai"], ["disk", "ADM", "imagenet_ai_0508_adm"]) == Place("adm", "train", "fake")
    assert place_of(["ai"], ["ADM", "imagenet_ai_0508_adm", "train"]) == Place("adm", "train", "fake")
    assert place_of(["train", "ai"], ["home", "somebody", "pictures"]) == Place(None, "train", "fake")


@pytest.mark.parametrize(
    ("context", "label"),
    [
        (["ADM", "train", "ai"], "fake"),
        (["ADM", "ai", "n01440764"], "fake"),
        (["home", "ai", "data"], None),  # somebody's home
        (["ai", "datasets", "flux"], None),
        (["ai", "mscoco"], None),
        (["nature", "papers", "x"], None),
        (["Fake", "DM", "Midjourney"], "fake"),
        (["0_real", "somewhere"], "real"),
    ],
)
def test_labels_above_the_source(context: list[str], label: str | None) -> None:
    assert place_of([], context).label == label


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "merged"])
def test_every_layout_gives_the_same_tars(layout: str, tmp_path: Path, packed_pair: dict[str, Any]) -> None:
    make_layout(tmp_path / "src", layout, **{**packed_pair["options"], **only_splits(layout)})
    pack_here(tmp_path / "src", tmp_path / "dst")
    expected = packed_pair["tars"]
    if layout == "test":
        # The validation images are numbered through, so they are the same ones with train left out.
        expected = {name: data for name, data in expected.items() if "/val/" in name}
    assert tars(tmp_path / "dst") == expected


def only_splits(layout: str) -> dict[str, Any]:
    return {"splits": LAYOUTS[layout]["splits"]} if "splits" in LAYOUTS[layout] else {}


@pytest.fixture(scope="module")
def packed_pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("pair")
    options: dict[str, Any] = {"generators": ("adm", "sd15"), "count": 4}
    make_tree(root / "src", **options)
    pack_here(root / "src", root / "dst")
    return {"options": options, "tars": tars(root / "dst")}


def test_merged_folder_goes_by_file_names(tmp_path: Path) -> None:
    made = make_layout(tmp_path / "src", "merged", generators=("adm", "glide", "sd14"), count=4)
    pack_here(tmp_path / "src", tmp_path / "dst")
    rows = {row["source"]: row for row in index_rows(tmp_path / "dst")}
    assert len(rows) == len({m.path for m in made})
    for one in made:
        row = rows[one.path]
        assert row["generator"] == (one.generator if one.label == "fake" else "real")
        assert (row["split"], row["label"]) == (one.split, one.label)


def test_pooled_reals_beside_fake_only_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = {
        "nature/train/n01440764_1.JPEG": real_jpeg(rng),
        "nature/val/ILSVRC2012_val_00000001.JPEG": real_jpeg(rng),
        "Midjourney/train/ai/0_midjourney_1.png": fake_png(rng, 16),
        "wukong/train/0_wukong_image2.png": fake_png(rng, 16),
    }
    put(tmp_path / "src", files)
    pack_here(tmp_path / "src", tmp_path / "dst")
    found = {row["source"]: (row["generator"], row["split"], row["label"]) for row in index_rows(tmp_path / "dst")}
    assert found == {
        "nature/train/n01440764_1.JPEG": ("real", "train", "real"),
        "nature/val/ILSVRC2012_val_00000001.JPEG": ("real", "val", "real"),
        "Midjourney/train/ai/0_midjourney_1.png": ("midjourney", "train", "fake"),
        "wukong/train/0_wukong_image2.png": ("wukong", "train", "fake"),
    }


def test_cnnspot_without_a_split_is_a_test_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    put(tmp_path / "src", {"progan/0_real/a.jpg": real_jpeg(rng), "progan/1_fake/b.png": fake_png(rng, 16)})
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    rows = {row["key"]: row for row in index_rows(tmp_path / "dst")}
    assert set(rows) == {"progan_val_real_a", "progan_val_fake_b"}
    assert {row["class_index"] for row in rows.values()} == {None}
    assert {row["synset"] for row in rows.values()} == {None}
    assert all("taken as val" in note for note in done.notes)


def test_unlisted_generator_as_the_source_itself(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    put(
        tmp_path / "flux",
        {"train/ai/012_flux_1.png": fake_png(rng, 16), "train/nature/n01440764_5.JPEG": real_jpeg(rng)},
    )
    pack_here(tmp_path / "flux", tmp_path / "dst")
    rows = {row["key"]: row["class_index"] for row in index_rows(tmp_path / "dst")}
    assert rows == {"flux_train_fake_012_flux_1": 12, "flux_train_real_n01440764_5": 0}


def test_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    put(tmp_path / "src", {"batch7/x.png": fake_png(rng, 16), "photos/deep/y.jpg": real_jpeg(rng)})
    with pytest.raises(ToolError, match="no recognisable layout"):
        pack_here(tmp_path / "src", tmp_path / "dst")
    pack_here(tmp_path / "src", tmp_path / "dst", "batch7=SDXL:train:fake", "photos=sdxl:train:nature")
    assert {row["key"] for row in index_rows(tmp_path / "dst")} == {"sdxl_train_fake_x", "sdxl_train_real_y"}
    with pytest.raises(ToolError, match="there is no folder 'nowhere'"):
        pack_here(tmp_path / "src", tmp_path / "other", "nowhere=a:train:fake")


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearest_map_has_the_last_word(order: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    put(tmp_path / "src", {"ADM/a/ai/a.png": fake_png(rng, 16), "ADM/b/ai/b.png": fake_png(rng, 16)})
    maps = ["ADM/a=glide::", "ADM=biggan:val:"][::order]
    pack_here(tmp_path / "src", tmp_path / "dst", *maps)
    assert {row["key"] for row in index_rows(tmp_path / "dst")} == {"glide_val_fake_a", "biggan_val_fake_b"}


@pytest.mark.parametrize("folder", ["./photos", "photos/", "PHOTOS", "{root}/photos", "{root}", ".", "photos/./deep"])
def test_ways_to_write_a_map(folder: str, tmp_path: Path) -> None:
    put(tmp_path / "src", {"photos/deep/y.jpg": real_jpeg(np.random.default_rng(1))})
    put(tmp_path / "more", {"photos/deep/y.jpg": real_jpeg(np.random.default_rng(2))})
    folder = folder.format(root=tmp_path / "src")
    pack_here(tmp_path / "src", tmp_path / "dst", f"{folder}=sdxl:train:real")
    assert [row["key"] for row in index_rows(tmp_path / "dst")] == ["sdxl_train_real_y"]
    pack_here([tmp_path / "src", tmp_path / "more"], tmp_path / "dst2", f"{folder}=sdxl:train:real")
    assert len(index_rows(tmp_path / "dst2")) == (1 if str(tmp_path) in folder else 2)


def test_map_says_what_wins() -> None:
    for command in ("scan", "pack"):
        assert "most specific folder wins" in " ".join(
            shard_tools_here(command, "--help").out.replace("│", " ").split()
        )


@pytest.mark.parametrize(
    ("name", "generator"),
    [("FLUX.1-dev", "flux_1-dev"), ('we"ird. na:me', "we_ird_na_me"), ("myset/train", "myset"), ("MySet", "myset")],
)
def test_sources_whose_own_name_is_the_generator(name: str, generator: str, tmp_path: Path) -> None:
    """The same name whether the source is given alone or among others, and one that can be part of a key."""
    root = tmp_path / name
    inner = "ai/a.png" if name.endswith("train") else "train/ai/a.png"
    put(root, {inner: fake_png(np.random.default_rng(1), 16)})
    make_tree(tmp_path / "other", generators=("adm",), count=1)
    pack_here(root, tmp_path / "alone")
    assert [row["key"] for row in index_rows(tmp_path / "alone")] == [f"{generator}_train_fake_a"]
    json.loads(members_of(tmp_path / "alone")[f"{generator}_train_fake_a.json"])
    pack_here([root, tmp_path / "other"], tmp_path / "both")
    assert {row["generator"] for row in index_rows(tmp_path / "both")} == {generator, "adm"}


def members_of(root: Path) -> dict[str, bytes]:
    (path,) = root.rglob("*.tar")
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_generators_of_other_scripts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    one, other = fake_png(rng, 16), fake_png(rng, 16)
    put(tmp_path / "src", {"日本/train/ai/a.png": one, "中国/train/ai/a.png": other})
    pack_here(tmp_path / "src", tmp_path / "dst")
    found = {row["source"].split("/")[0]: row["generator"] for row in index_rows(tmp_path / "dst")}
    assert found == {name: generator_name(name) for name in ("日本", "中国")}
    assert len(set(found.values())) == 2
    assert all(name.startswith("gen-") for name in found.values())
    assert parse_mapping("日本=日本:train:fake").generator == found["日本"]
    assert generator_name(unicodedata.normalize("NFD", "ガ")) == generator_name(unicodedata.normalize("NFC", "ガ"))
    pack_here(tmp_path / "src", tmp_path / "one", generators=(generator_name("中国"),))
    assert len(index_rows(tmp_path / "one")) == 1


@pytest.mark.parametrize("text", ["adm:train:fake", "x=a:b:c:d", "x=adm:holdout:fake", "x=adm:train:maybe", "=adm::"])
def test_bad_map(text: str) -> None:
    with pytest.raises(ToolError, match="--map"):
        parse_mapping(text)


def test_partial_map_leaves_the_rest_to_the_names() -> None:
    mapping = parse_mapping("ADM2=flux::")
    assert mapping.apply(Place("adm", "train", "fake")) == Place("flux", "train", "fake")


def test_what_is_not_recognised_is_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = {
        "ADM/train/ai/0_adm_1.PNG": fake_png(rng, 16),
        "samples/picture.png": fake_png(rng, 16),
        "README.md": b"hello",
    }
    put(tmp_path / "src", files)
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert "--map" in quarantine_rows(tmp_path / "dst")["samples/picture.png"]["reason"]
    assert len(index_rows(tmp_path / "dst")) == 1


def test_same_name_in_two_folders(tmp_path: Path) -> None:
    """Equal bytes are one sample; other bytes get another key that does not depend on the folder."""
    rng = np.random.default_rng(1)
    one, other, third = (fake_png(rng, 16) for _ in range(3))
    put(
        tmp_path / "src",
        {
            "ADM/train/ai/0_adm_1.PNG": one,
            "imagenet_ai_0508_adm/train/ai/0_adm_1.PNG": one,
            "ADMnew/train/ai/0_adm_1.PNG": other,
            "ADM/train/ai/0_adm_1.jpg": third,
        },
    )
    put(tmp_path / "moved", {"a/ADM/train/ai/0_adm_1.PNG": other, "b/ADM/train/ai/0_adm_1.PNG": one})
    put(tmp_path / "moved", {"c/ADM/train/ai/0_adm_1.PNG": third})
    pack_here(tmp_path / "src", tmp_path / "dst")
    pack_here(tmp_path / "moved", tmp_path / "dst2")
    rows = index_rows(tmp_path / "dst")
    assert sorted(row["key"] for row in rows) == sorted(f"adm_train_fake_0_adm_1~{row['sha256'][:12]}" for row in rows)
    assert len(rows) == 3
    assert tars(tmp_path / "dst") == tars(tmp_path / "dst2")
    bad = quarantine_rows(tmp_path / "dst")
    assert list(bad) == ["imagenet_ai_0508_adm/train/ai/0_adm_1.PNG"]
    assert next(iter(bad.values()))["reason"] == "duplicate: the same bytes as ADM/train/ai/0_adm_1.PNG"


def test_keys_have_no_dots_or_spaces(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = ["a.b c.png", "a_b_c.png", "ü.png", "x" * 120 + ".png"]
    put(tmp_path / "src", {f"ADM/train/ai/{name}": fake_png(rng, 16) for name in names})
    pack_here(tmp_path / "src", tmp_path / "dst")
    rows = {row["source"].rsplit("/", 1)[1]: row for row in index_rows(tmp_path / "dst")}
    assert len({row["key"] for row in rows.values()}) == 4
    assert rows["ü.png"]["key"] == "adm_train_fake__"
    for name in ("a.b c.png", "a_b_c.png"):
        assert rows[name]["key"] == f"adm_train_fake_a_b_c~{rows[name]['sha256'][:12]}"


def test_several_sources(tmp_path: Path) -> None:
    make_tree(tmp_path / "one", generators=("adm",), count=2)
    make_tree(tmp_path / "two", generators=("sd14",), count=2)
    pack_here([tmp_path / "one", tmp_path / "two"], tmp_path / "dst")
    rows = index_rows(tmp_path / "dst")
    assert {row["generator"] for row in rows} == {"adm", "sd14"}
    assert {row["source"].split("/")[0] for row in rows} == {"ADM", "stable_diffusion_v_1_4"}


def test_sources_of_the_same_name(tmp_path: Path) -> None:
    """The column `source` tells them apart; the name still says the split."""
    rng = np.random.default_rng(1)
    for outer in "abc":
        put(tmp_path / outer / "ADM" / "train", {"ai/0_adm_1.PNG": fake_png(rng, 16)})
    pack_here([tmp_path / outer / "ADM" / "train" for outer in "abc"], tmp_path / "dst")
    rows = index_rows(tmp_path / "dst")
    assert {row["source"] for row in rows} == {f"{n}ai/0_adm_1.PNG" for n in ("", "train~2/", "train~3/")}
    assert {(row["generator"], row["split"]) for row in rows} == {("adm", "train")}


def test_zips_among_several_sources(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for outer in "ab":
        (tmp_path / outer).mkdir()
        with zipfile.ZipFile(tmp_path / outer / "biggan.zip", "w") as archive:
            archive.writestr("train/ai/x.png", fake_png(rng, 16))
    make_tree(tmp_path / "tree", generators=("adm",), splits=("val",), count=1)
    sources = [tmp_path / "a" / "biggan.zip", tmp_path / "tree", tmp_path / "b" / "biggan.zip"]
    pack_here(sources, tmp_path / "dst")
    rows = [row for row in index_rows(tmp_path / "dst") if row["generator"] == "biggan"]
    assert {row["source"] for row in rows} == {"biggan.zip:train/ai/x.png", "biggan~2.zip:train/ai/x.png"}


def put(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
