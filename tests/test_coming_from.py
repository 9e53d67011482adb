"""docs/coming-from.md: both columns of a pair run, and give the same number of images of each label."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.genimage import make_tree
from tests.fixtures.pages import ROOT, Block, blocks, make_commands, run

PAGE = (ROOT / "docs/coming-from.md").read_text()
COUNT = 3  # files of each generator, split and label
#: What a section needs installed; None is not to be had here.
NEEDS = {"ImageFolder": "torchvision", "webdataset": "webdataset", "DALI": "nvidia.dali", "FFCV": None}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def columns() -> dict[str, list[list[Block]]]:
    """Section -> the blocks of its left and of its right column."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    return {
        name: [blocks(column) for column in body.split("<div markdown>")[1:]]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.fixture(scope="module")
def folder(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GenImage as shards, and one of its generators in the folders that ImageFolder takes."""
    here = tmp_path_factory.mktemp("coming-from")
    for number, one in enumerate(make_tree(here / "GenImage", count=COUNT)):
        if one.generator == "sd14":
            name = f"{number}.{'png' if one.label == 'fake' else 'jpg'}"
            inside = here / "folders" / one.split / {"real": "0_real", "fake": "1_fake"}[one.label]
            inside.mkdir(parents=True, exist_ok=True)
            (inside / name).write_bytes(one.data)
    make_commands(here / "bin", warm)
    run(here, "shard-tools pack GenImage shards")
    return here


def seen(column: list[Block], here: Path) -> Counter[int]:
    """Run a column; how many images of each label it hands to `train_step`."""
    counts: Counter[int] = Counter()

    def train_step(images: Any, labels: Any) -> None:
        assert images.dtype == torch.float32
        assert images.shape == (len(labels), 3, 224, 224)
        counts.update(torch.as_tensor(labels).tolist())

    for block in column:
        if block.language == "sh":
            run(here, f"rm -rf folder-shards; {block.text}")
        else:
            assert block.language == "python"
            names = {"__name__": "__main__", "train_step": train_step, "MEAN": MEAN, "STD": STD}
            exec(compile(block.text, f"<coming-from, line {block.line}>", "exec"), names)
    return counts


def test_every_section_is_known() -> None:
    assert columns().keys() == NEEDS.keys()
    assert all(len(pair) == 2 and all(pair) for pair in columns().values())


@pytest.mark.filterwarnings("ignore")  # of the other libraries
@pytest.mark.parametrize("section", NEEDS)
def test_both_columns_give_the_same_images(section: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    left, right = columns()[section]
    ours = seen(right, folder)
    assert set(ours) == {0, 1}
    assert ours[0] == ours[1] > 0
    needed = NEEDS[section]
    if needed is None:
        for block in left:
            compile(block.text, section, "exec")
        return
    pytest.importorskip(needed, reason=f"{needed} is not installed: make test installs what the tests compare with")
    assert seen(left, folder) == ours


def test_folders_of_genimage_are_numbered_the_other_way_round_by_imagefolder(tmp_path: Path) -> None:
    datasets = pytest.importorskip(
        "torchvision.datasets", reason="torchvision is not installed: scripts/setup.sh --tests"
    )
    for one in make_tree(tmp_path, count=1):
        if one.generator == "adm" and one.split == "train":
            train = (tmp_path / one.path).parents[1]
    assert datasets.ImageFolder(train).class_to_idx == {"ai": 0, "nature": 1}
