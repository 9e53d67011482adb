"""What folder names and --map say: never a label, a split or a generator that is only guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shard_tools.errors import ToolError
from shard_tools.layout.mapping import parse_mapping
from shard_tools.scan import Listing, scan

Groups = set[tuple[str, str, str]]


def make(root: Path, folders: Iterable[str], suffix: str = "png") -> Path:
    """An image (of one byte: scan reads no contents) in each of the folders."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{number:05d}.{suffix}").write_bytes(b"x")
    return root


def named(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def listing(root: Path, *maps: str, **options: Any) -> Listing:
    return scan([str(root)], mappings=[parse_mapping(text) for text in maps], **options)


def told(root: Path, *maps: str, **options: Any) -> Groups:
    return {(g.generator, g.split, g.label) for g in listing(root, *maps, **options).groups}


def both(*names: tuple[str, str]) -> Groups:
    return {(generator, split, label) for generator, split in names for label in ("real", "fake")}


def labelled(folders: Iterable[str], labels: Sequence[str] = ("0_real", "1_fake")) -> list[str]:
    return [f"{folder}/{label}" for folder in folders for label in labels]


CLASS_FOLDERS = [
    (labelled(["test/progan/car", "test/progan/train", "test/stylegan/car"]), [("progan", "val"), ("stylegan", "val")]),
    (labelled(["test/progan/train"]), [("progan", "val")]),
    (labelled(["progan_train/car", "progan_train/train"]), [("progan", "train")]),
    (labelled(["progan_train/cat", "progan_val/cat", "progan_val/train"]), [("progan", "train"), ("progan", "val")]),
    (
        labelled(["test/cyclegan/winter", "test/deepfake", "test/ADM"]),
        [(g, "val") for g in ("cyclegan", "deepfake", "adm")],
    ),
    (labelled(["progan/test/dog", "progan/train/dog"]), [("progan", "train"), ("progan", "val")]),
    (labelled(["test/stylegan2/unheard_of_class"]), [("stylegan2", "val")]),
    (labelled(["train_set/newgen", "test_set/newgen"]), [("newgen", "train"), ("newgen", "val")]),
    (labelled(["newgen/train2017", "newgen/val2017"]), [("newgen", "train"), ("newgen", "val")]),
    (labelled(["newgen-test", "newgen-training"]), [("newgen", "train"), ("newgen", "val")]),
    (labelled(["testset/newgen/cow"], ("REAL", "FAKE")), [("newgen", "val")]),
    (labelled(["training/GenImage/ADM/val", "training/GenImage/ADM/train"]), [("adm", "train"), ("adm", "val")]),
    (labelled(["training/mine/flux/val", "training/mine/flux/train"]), [("flux", "train"), ("flux", "val")]),
    (labelled(["flux-dev/train", "sd-turbo/train"]), [("flux-dev", "train"), ("sd-turbo", "train")]),
    (["newgen/fake_train", "newgen/real_train"], [("newgen", "train")]),
]


@pytest.mark.parametrize(("folders", "expected"), CLASS_FOLDERS)
def test_classes_are_no_generators_and_no_splits(
    folders: list[str], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert told(make(tmp_path / "src", folders)) == both(*expected)


@pytest.mark.parametrize("source", ["test", "test/progan", "."])
def test_a_source_within_the_dataset(source: str, tmp_path: Path) -> None:
    make(tmp_path / "ForenSynths", labelled(f"test/progan/{name}" for name in ("car", "cat", "train")))
    assert told(tmp_path / "ForenSynths" / source) == both(("progan", "val"))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("Fake/DM/newgen", ("newgen", "val", "fake")),  # nothing above the label
        ("newgen/fake/upscaled", ("newgen", "val", "fake")),
        ("newgen/train/fake/car", ("newgen", "train", "fake")),
        ("Real/somewhere", ("real", "val", "real")),  # no fakes go by that name
        ("lsun_bedroom/real", ("real", "val", "real")),
        ("valid/real_COCO", ("real", "val", "real")),
        ("MSCOCO/train2017", ("real", "train", "real")),
        ("RAISE-1k", ("real", "val", "real")),
    ],
)
def test_names_below_the_label_and_sources_of_reals(
    folder: str, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    make(tmp_path / "src", [folder, "ADM/train/ai"])
    assert told(tmp_path / "src") == {expected, ("adm", "train", "fake")}


def test_reals_below_the_label_stay_with_their_fakes(tmp_path: Path) -> None:
    assert told(make(tmp_path, ["fake/newgen", "real/newgen", "real/elsewhere"])) == {
        *both(("newgen", "val")),
        ("real", "val", "real"),
    }


def test_one_name_below_several_that_may_be_generators(tmp_path: Path) -> None:
    """Classes of generators that nobody knows, or generators below degradations: said, with the line for the first."""
    make(tmp_path, labelled(["alpha/oddities", "beta/oddities"]))
    (note,) = (note for note in listing(tmp_path).notes if "put together" in note)
    assert "'oddities' is put together from folders below alpha, beta" in note
    assert "--map alpha=alpha::" in note
    maps = ("alpha=alpha::", "beta=beta::")
    assert told(tmp_path, *maps) == both(("alpha", "val"), ("beta", "val"))
    assert not any("put together" in note for note in listing(tmp_path, *maps).notes)


def test_a_split_word_that_is_passed_over_is_said(tmp_path: Path) -> None:
    found = listing(make(tmp_path, labelled(["test/progan/train"])))
    assert any("test/progan/train" in note and "not taken for" in note for note in found.notes)


def test_unlisted_folders_of_photographs_need_a_label(tmp_path: Path) -> None:
    """What generators are trained on names folders of fakes as well."""
    make(tmp_path, ["ffhq", "ADM/train/ai"])
    assert told(tmp_path) == {("adm", "train", "fake")}
    assert told(tmp_path, "ffhq=:train:real") == {("adm", "train", "fake"), ("real", "train", "real")}


@pytest.mark.parametrize("folder", ["sdxl-turbo/train", "ldm/n01440764", "someones_model"])
def test_names_of_classes_tell_no_label_of_other_generators(folder: str, tmp_path: Path) -> None:
    """Generators of classes call their images as ImageNet calls its photographs."""
    named(tmp_path / folder, "n01440764_12.JPEG", "n01440764_13.png")
    with pytest.raises(ToolError, match=r"nothing says whether they are real or fake"):
        told(tmp_path)
    assert {label for _, _, label in told(tmp_path, ".=::fake")} == {"fake"}


def test_photographs_by_their_names(tmp_path: Path) -> None:
    for folder in ("adm/train", "somewhere"):
        named(tmp_path / folder, "n01440764_12.JPEG", "0_adm_1.PNG")
    # No photograph of ImageNet is a PNG.
    names = ("ILSVRC2012_val_00000001.JPEG", "n01440764_12_n01440764.JPEG", "n01440764_12.png")
    named(tmp_path / "imagenet_ai", *names)
    found = listing(tmp_path)
    groups = [found.groups[number] for number in found.group]
    assert Counter((g.generator, g.label) for g in groups) == {
        **{(generator, label): 1 for generator in ("adm", "somewhere") for label in ("real", "fake")},
        ("real", "real"): 2,
    }
    assert [one.source for one in found.rejected] == ["imagenet_ai/n01440764_12.png"]


def test_map_leaves_nearer_names_the_last_word(tmp_path: Path) -> None:
    make(tmp_path, [f"ADMnew/{split}/{label}" for split in ("train", "val") for label in ("ai", "nature")])
    found = listing(tmp_path, "ADMnew=adm:train:fake")
    assert {(g.generator, g.split, g.label) for g in found.groups} == both(("adm", "train"), ("adm", "val"))
    assert any("3 files keep the label or split" in note for note in found.notes)


@pytest.mark.parametrize("deep", ["", "outer/"])
def test_map_as_default_for_what_has_no_label(deep: str, tmp_path: Path) -> None:
    make(tmp_path, [f"{deep}images/test/lsun_bedroom/{name}" for name in ("real", "adm", "ddpm")])
    expected = {("adm", "val", "fake"), ("ddpm", "val", "fake"), ("real", "val", "real")}
    assert told(tmp_path, ".=::fake") == expected
    assert told(tmp_path, f"{deep}images/*=::fake") == expected


@pytest.mark.parametrize("given", ["ADM/val=:train:", "ADM/*=:train:", "ADM/val/ai=::real", "*/*/nature=adm::fake"])
def test_map_that_would_overrule_a_name(given: str, tmp_path: Path) -> None:
    make(tmp_path, ["ADM/val/ai", "ADM/val/nature"])
    make(tmp_path, ["ADM/val/ai", "ADM/val/nature"], "jpg")
    with pytest.raises(ToolError, match=r"it would overrule the folder name '(val|ai|nature)' for [24] files"):
        listing(tmp_path, given)


def test_map_nearer_than_a_name_wins(tmp_path: Path) -> None:
    assert told(make(tmp_path, ["train/ai/odd"]), "train/ai/odd=x:val:real") == {("x", "val", "real")}


def test_map_wildcards(tmp_path: Path) -> None:
    make(tmp_path, [f"DRCT-2M/{g}/{s}2017" for g in ("sdxl-turbo", "ldm-text2im") for s in ("train", "val")])
    make(tmp_path, ["DRCT-2M/[odd] name", "MSCOCO/train2017"])
    expected = {(g, s, "fake") for g in ("sdxl-turbo", "ldm-text2im") for s in ("train", "val")}
    reals = {("real", "train", "real")}
    assert told(tmp_path, "DRCT-2M/*/train*=:train:fake", "drct-2m/*/val*=::fake") == expected | reals
    assert told(tmp_path, "DRCT-2M/[odd] name=odd::fake", "DRCT-2M/????-turbo=::fake") == reals | {
        ("odd", "val", "fake"),
        *((g, s, la) for g, s, la in expected if g == "sdxl-turbo"),
    }
    with pytest.raises(ToolError, match="there is no folder"):
        listing(tmp_path, "DRCT-2M/[o]dd name=odd::fake")
    # of equal depth, the one without a wildcard is the more specific
    assert ("b", "train", "fake") in told(tmp_path, "DRCT-2M/sdxl-turbo=b::fake", "DRCT-2M/*=a::fake")


def test_a_sentence_per_folder_that_is_not_understood(tmp_path: Path) -> None:
    make(tmp_path, ["ADM/train/ai", "my photos/a", "my photos/a", "samples"], "jpg")
    problems = listing(tmp_path).problems
    assert len(problems) == 2
    assert problems[0].startswith("my photos/a: 2 images are not taken")
    assert problems[0].endswith("--map 'my photos/a=::fake' or --map 'my photos/a=::real'")
    assert told(tmp_path, "my photos/a=x:val:real", "samples=x:val:fake") >= both(("x", "val"))
    (line,) = listing(make(tmp_path / "many", ["ADM/train/ai", *(f"gen{n}" for n in range(30))])).problems
    assert line.startswith("SRC: 30 images are not taken")
    assert line.endswith("--map .=::fake or --map .=::real")


def test_nothing_is_understood(tmp_path: Path) -> None:
    make(tmp_path, ["newgen"])
    with pytest.raises(ToolError, match=r"no recognisable layout. newgen: 1 image .*--map newgen=::fake"):
        listing(tmp_path)


def test_the_proposed_map_spoils_no_ordinary_tree(tmp_path: Path) -> None:
    make(tmp_path, [f"my_images/{split}/{label}" for split in ("train", "val") for label in ("ai", "nature")])
    with pytest.raises(ToolError) as error:
        parse_mapping("my_images")
    example = str(error.value).rpartition(" ")[2]
    assert told(tmp_path, example) == both(("flux", "train"), ("flux", "val"))
