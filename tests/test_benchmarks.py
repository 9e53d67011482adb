"""The benchmark does the same work for every loader, and reports one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import genimage_stream as gs
from benchmarks import growth
from benchmarks.chart import WIDTH, bar_chart, line_chart
from benchmarks.data import STREAMS, renamed
from benchmarks.environments import environment, remembered_failure
from benchmarks.full import PARTS
from benchmarks.harness import Contestant, measure
from benchmarks.peers import PEERS, Endless, Work, client
from benchmarks.peers.client import PeerProcess
from benchmarks.peers.serve import run_epoch
from genimage_stream.bench.process import ContestantError, process_tree, usage
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


@pytest.mark.parametrize(
    "name", ["ours", "webdataset_pillow", "webdataset_opencv", "webdataset_fastest", "dataloader_fastest"]
)
def test_peer_does_the_work(name: str, work: Work) -> None:
    if name.endswith("fastest"):
        pytest.importorskip("simplejpeg")
        pytest.importorskip("kornia_rs")
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
    with pytest.raises(ContestantError, match="no crop-ready shards"):
        PeerProcess("ours_crop_ready", work)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [("dies", "ended without an answer"), ("hangs", "no answer within "), ("raises", "RuntimeError: no more")],
)
def test_a_peer_that_fails_in_a_round_is_left_out(
    behaviour: str, says: str, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are measured to the end."""
    monkeypatch.setenv("STUB_PEER", behaviour)
    stub = replace(work, scratch=str(tmp_path))
    left_out: dict[str, str] = {}
    others = 0

    def other() -> None:
        nonlocal others
        others += 1

    with PeerProcess("tests.fixtures.stub_peer", stub) as peer:
        peer.epoch()
        if behaviour == "hangs":
            monkeypatch.setattr(client, "EPOCH_SECONDS", 0.5)
        contestants = [Contestant("stub", peer.epoch, 1), Contestant("other", other, 1)]
        measured = measure(contestants, rounds=3, warm_up=0, left_out=left_out)
        with pytest.raises(ContestantError, match="has ended"):
            peer.epoch()
    assert list(measured) == ["other"]
    assert others == len(measured["other"].seconds) == 3
    assert says in left_out["stub"]
    assert str(tmp_path) not in left_out["stub"], "results name no folder of this machine"


def test_without_a_list_of_those_left_out_an_error_ends_the_measurement() -> None:
    def fails() -> None:
        raise ContestantError("no")

    with pytest.raises(ContestantError):
        measure([Contestant("a", fails, 1)], rounds=1)


def test_threads_are_counted_while_they_run(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_PEER", "threads")
    with PeerProcess("tests.fixtures.stub_peer", replace(work, scratch=str(tmp_path))) as peer:
        before = peer.epoch()["threads"]
        assert peer.epoch()["threads"] >= before + 40


def test_what_is_ready_is_handed_over_before_the_clock(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_PEER", "settles")
    clock = iter(range(100))
    with PeerProcess("tests.fixtures.stub_peer", replace(work, scratch=str(tmp_path))) as peer:
        peer.epoch()
        one = Contestant("stub", peer.epoch, 1, peer.settle)
        measured = measure([one], rounds=1, warm_up=0, clock=lambda: float(next(clock)))
    assert measured["stub"].seconds == (1.0,)


def test_a_turn_ends_when_the_peer_is_idle(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does for its next epoch must not take the cores from the next peer."""
    monkeypatch.setenv("STUB_PEER", "works on")
    with PeerProcess("tests.fixtures.stub_peer", replace(work, scratch=str(tmp_path))) as peer:
        peer.epoch()
        peer.rest()
        peer.epoch()
        spent = usage(peer.pid)[0]
        peer.rest()
        assert usage(peer.pid)[0] - spent > 0.5  # of one second; some may have gone by before the answer was here
        monkeypatch.setattr(client, "REST_SECONDS", 0.5)
        peer.epoch()
        with pytest.raises(ContestantError, match=r"still at work 0\.5 seconds after its epoch"):
            peer.rest()


def test_a_turn_may_have_several_epochs() -> None:
    said: list[str] = []
    clock = iter(range(100))
    one = Contestant("a", lambda: said.append("run"), 1, lambda: said.append("before"), lambda: said.append("after"), 4)
    measured = measure([one], rounds=2, warm_up=0, clock=lambda: float(next(clock)))
    assert said == ["before", "run", "run", "run", "run", "after"] * 2
    assert measured["a"].seconds == (0.25, 0.25)


def test_process_tree_knows_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in process_tree(os.getpid())
        child.kill()


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


def test_streams_are_whole_batches_as_many_for_each_worker() -> None:
    assert all(stream.images % (64 * 2) == 0 for stream in STREAMS.values())


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
    ground, *bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert ground == WIDTH
    assert bars[0] == pytest.approx(4 * bars[1], rel=0.01)


def test_ticks_of_a_time_axis_are_round() -> None:
    points = [(x, 1.0, 1.0, 1.0) for x in (4.59, 8.59, 12.4)]
    assert ">4.59</text>" not in line_chart({"a": points}, "t", x_label="seconds", y_label="y")
    few = [(x, 1.0, 1.0, 1.0) for x in (1, 2, 4)]
    assert ">4</text>" in line_chart({"a": few}, "t", x_label="threads", y_label="y")


def test_index_table_and_charts_show_the_speed() -> None:
    figures = {"open_seconds": [0.001], "first_batch_seconds": [0.2], "resume_seconds": [0.3], "memory_mib": [70.0]}
    figures |= {"interpreter_seconds_per_batch": [0.0007], "seconds_per_batch_of_64_windows": [0.064, 0.032, 0.016]}
    found = {1000: figures, 2_000_000: figures}
    assert "| 2,000 (1,000-4,000) |" in growth.index_table(found)
    charts = growth.index_charts(found)
    assert set(charts) == {"index_size", "index_speed"}
    assert "2 M" in charts["index_speed"][1]


def test_an_endless_stream_is_cut_into_epochs_and_what_is_ready_is_taken_away() -> None:
    taken = 0

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((8, 3, 2, 2)), np.zeros(8)

    epoch = Endless(batches(), 20, 4)
    epoch.settle()
    assert taken == 0, "nothing is ready before the first epoch"
    assert [len(labels) for _, labels in epoch()] == [8, 8, 4]
    epoch.settle()
    assert taken == 3 + 4
