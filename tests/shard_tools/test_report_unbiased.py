"""The shortcuts before and after `gs.unbiased`, as the report measures them, and its detector of JPEG traces."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import genimage_stream as gs
from shard_tools.report.statistics import Samples
from shard_tools.report.traces import NO_BLOCKS, block_start
from shard_tools.report.unbiased import EVERYTHING, as_loaded, unbiasing
from shard_tools.report.write import report
from stand_ins.tree import real, stand_in, write_subset
from tests.shard_tools.conftest import shard_tools


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins of two generators."""
    root = tmp_path_factory.mktemp("stand-ins")
    for name in ("adm", "biggan"):
        write_subset(root / "tree", name, {"train": 20, "val": 0})
    done = shard_tools("pack", root / "tree", root / "shards", "--workers", 1)
    assert done.code == 0, done.err
    return root / "shards"


def test_file_facts_and_jpeg_traces_tell_nothing_afterwards(root: Path, tmp_path: Path) -> None:
    dataset = gs.open_dataset(root)
    found = {one.generator: one for one in unbiasing(dataset, Samples(dataset), 20)}
    assert list(found) == [EVERYTHING, "adm", "biggan"]
    everything = found[EVERYTHING]
    assert everything.facts[0] > 0.95
    assert everything.traces[0] > 0.95
    assert everything.facts[1] <= 0.55
    assert everything.traces[1] <= 0.55
    assert 16 < found["biggan"].crop <= 113
    assert found["adm"].kept[0] == found["adm"].kept[1] > 10
    plain = report(str(root), str(tmp_path / "out.html"), thumbnails=0, images=4)["unbiased"]
    assert [one["generator"] for one in plain] == list(found)
    assert plain[0]["facts_before"] > 0.95
    assert plain[0]["facts_after"] < 0.6
    assert "Without the shortcuts" in (tmp_path / "out.html").read_text()


def test_facts_are_those_after_the_steps(root: Path) -> None:
    dataset = gs.open_dataset(root)
    u = gs.unbiased(dataset.select(generators=["adm"], splits=["train"]))
    facts = as_loaded(u)
    crop = u.report()["crop"]
    assert set(facts.width.tolist()) == set(facts.height.tolist()) == {crop}
    assert {facts.format.names[code] for code in facts.format.codes} == {"jpeg"}
    loader = gs.Loader(u, crop=96)
    drawn = [draws[0]["inner"][0]["quality"] for draws in loader.draws(range(len(u))) if draws[0]["applied"]]
    assert facts.jpeg_quality[facts.fake].tolist() == drawn
    without = gs.Dataset(replace(u.access, steps=()))
    assert set(as_loaded(without).width[facts.fake].tolist()) == {256}


def test_groups_that_cannot_be_matched_have_a_reason(root: Path) -> None:
    dataset = gs.open_dataset(root).select(labels=["fake"])
    assert all(
        "no real of train is left (there are none)" in one.reason for one in unbiasing(dataset, Samples(dataset), 2)
    )


@pytest.mark.parametrize("quality", [75, 96])
def test_blocks_are_found_where_they_begin(quality: int) -> None:
    rng = np.random.default_rng(quality)

    def window(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """The place that is found in a random window, and the right one."""
        x, y = rng.integers(0, 32, 2)
        return block_start(image[y : y + 96, x : x + 96]), int(-y % 8 * 8 + -x % 8)

    right = plain = 0
    for _ in range(12):
        image = stand_in("biggan", "train", rng).convert("RGB")
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        found, place = window(np.asarray(Image.open(file)))
        right += found == place
        plain += window(np.asarray(image))[0] == NO_BLOCKS
    assert right >= 10
    assert plain == 12
    found, place = window(gs.decode(real("train", 1, rng)))
    assert found == place
