"""The benchmark does the same work for every loader, and says so when one does not."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import genimage_stream as gs
from benchmarks.chart import bar_chart
from benchmarks.data import renamed
from benchmarks.environments import environment, remembered_failure
from benchmarks.full import PARTS
from benchmarks.peers import PEERS, Work
from benchmarks.peers.client import PeerError, PeerProcess
from benchmarks.peers.serve import run_epoch
from tests.fixtures.genimage import make_tree


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("bench")
    make_tree(folder / "tree", generators=["adm", "midjourney"], count=3)
    shards = folder / "shards"
    subprocess.run([sys.executable, "-m", "shard_tools", "pack", str(folder / "tree"), str(shards)], check=True)
    tars = tuple(str(path) for path in sorted(shards.glob("*/*/*.tar")))
    images = len(gs.open_dataset(shards))
    return Work(str(shards), tars, images, str(folder / "scratch"), crop=48, batch_size=8, workers=1)


def test_work_survives_being_saved(work: Work, tmp_path: Path) -> None:
    work.save(tmp_path / "work.json")
    assert Work.load(tmp_path / "work.json") == work


@pytest.mark.parametrize("name", ["ours", "webdataset_pillow"])
def test_peer_does_the_work(name: str, work: Work) -> None:
    with PeerProcess(name, work) as peer:
        assert peer.about["title"]
        for _ in range(2):
            answer = peer.epoch()
            assert answer["images"] == work.images
            assert answer["seconds"] > 0
            assert answer["peak_mib"] > 10


def test_an_epoch_that_is_not_the_work_is_an_error(work: Work) -> None:
    batch = np.zeros((4, 3, work.crop, work.crop), np.float32), np.zeros(4)
    with pytest.raises(ValueError, match=f"4 images instead of {work.images}"):
        run_epoch(lambda: iter([batch]), work)
    with pytest.raises(ValueError, match="uint8 with 4 labels is not what was asked for"):
        run_epoch(lambda: iter([(batch[0].astype(np.uint8), batch[1])]), work)


def test_a_peer_that_cannot_start_says_why(work: Work) -> None:
    with pytest.raises(PeerError, match="no crop-ready shards"):
        PeerProcess("ours_crop_ready", work)


@pytest.mark.parametrize("name", PEERS)
def test_peer_is_described(name: str) -> None:
    peer = import_module(f"benchmarks.peers.{name}")
    assert peer.__doc__
    assert peer.TITLE
    assert peer.PACKAGES
    assert all("==" in requirement for requirement in peer.REQUIREMENTS[:1])
    if not peer.REQUIREMENTS:
        assert environment(name)


def test_a_failed_installation_is_remembered(tmp_path: Path) -> None:
    assert remembered_failure(tmp_path, "digest") == ""
    (tmp_path / "failed").write_text("digest\nno such package")
    assert remembered_failure(tmp_path, "digest") == "no such package"
    assert remembered_failure(tmp_path, "another digest") == ""


def test_a_stream_repeats_its_files_under_names_of_their_own() -> None:
    for name in ("0_adm_153.PNG", "033_sdv4_00134.png", "n01440764_1000.JPEG", "0_wukong_image128.png"):
        names = [renamed(name, copy) for copy in range(3)]
        assert names[0] == name
        assert len(set(names)) == 3
        assert {Path(one).suffix for one in names} == {Path(name).suffix}
    assert renamed("ILSVRC2012_val_00000744.JPEG", 1) == "ILSVRC2012_val_00010744.JPEG"


def test_the_full_run_lists_its_parts() -> None:
    def full(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks.full", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    listed = full("--list")
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in PARTS)
    assert "there is no part everything" in full("everything").stderr


def test_chart_is_well_formed_and_described() -> None:
    chart = bar_chart({"a <b>": 10.0, "genimage-stream": 40.0}, "Images & seconds", highlight="genimage")
    root = ElementTree.fromstring(chart)
    text = "".join(root.itertext())
    assert "a <b>" in text
    assert "Images & seconds" in text
    bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars[0] == pytest.approx(4 * bars[1], rel=0.01)
