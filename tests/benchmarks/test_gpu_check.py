"""The GPU check: to its end in CPU mode, what it says when it cannot begin, and what a GPU alone would show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import genimage_stream as gs
from benchmarks import gpu_check
from benchmarks.gpu import gpu_use, needs, report, training
from benchmarks.gpu.client import ContestantError, Process
from benchmarks.gpu.contestants import CONTESTANTS, chosen
from benchmarks.gpu.rounds import Outcome
from benchmarks.gpu.setting import Setting
from benchmarks.growth import make_large
from tests.fixtures.genimage import make_tree

SETTING = Setting("cpu", 8, 32, 2, {}, ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("gpu_check")
    make_tree(here / "tree")
    pack = [sys.executable, "-m", "shard_tools", "pack", str(here / "tree"), str(here / "shards")]
    subprocess.run(pack, check=True, capture_output=True)
    return here / "shards"


@pytest.mark.timeout(900)  # five processes that import torch
def test_cpu_mode(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install nvidia-dali-cuda120")
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["--plain", folder, "--device", "cpu", "--seconds", "0.1", "--rounds", "2", "--batch-size", "8"]
    words += ["--crop", "32", "--threads", "2", "--epoch", "200", "--no-build", "--results", tmp_path]
    monkeypatch.setattr("sys.argv", ["gpu_check", *map(str, words)])
    assert gpu_check.main() == 0
    output = capsys.readouterr()
    assert output.out.rstrip().endswith("Pixels that must be equal are equal.")
    assert "fewer than 100 batches of 8" in output.err
    text = (tmp_path / "gpu-check-cpu-mode.md").read_text()
    assert "There was no GPU" in text
    assert "bit-equal" in text
    assert "An epoch has 200 images" in text
    data = json.loads((tmp_path / "gpu-check-cpu-mode.json").read_text())
    there = {(row["stream"], row["contestant"]) for row in data["rates"]}
    plain = {name for name, one in CONTESTANTS.items() if one.folder == "plain"}
    assert there == {(stream, name) for name in plain for stream in CONTESTANTS[name].streams}
    for row in data["rates"]:
        assert len(row["rounds"]) == 2
        assert row["images_per_second"] > 0
        assert row["cpus"] > 0
    assert data["baseline"] in ("dali-own", "dali-own-sliced")
    assert all(row["largest"] == 0 for row in data["fidelity_plain"])


def test_repeated_rows_are_packed_as_the_originals(folder: Path, tmp_path: Path) -> None:
    """By that, `tune` tells crop-ready shards from plain ones."""
    large = gs.open_dataset(make_large(folder, tmp_path / "large", 1000))
    assert len(large) == 1000
    assert "crop_ready" in large.info["options"]
    assert large.info["options"] == gs.open_dataset(folder).info["options"]


def test_training_step_is_fed(folder: Path) -> None:
    setting = replace(SETTING, batch_size=4, folders={"plain": str(folder)})
    source = CONTESTANTS["cpu-plain"].open(setting, "mixed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's spin while they wait, which costs minutes on a busy machine
    try:
        found = training.train(source.batches, setting, steps=1, settle=1)
    finally:
        torch.set_num_threads(threads)
    assert found["images_per_second"] > 0
    assert found["alone"] > 0
    assert 0 <= found["waiting"] < 1


class ImaginedGpu:
    """A host and a GPU that works off what the host queues; marks are the GPU's time when it comes to them."""

    def __init__(self) -> None:
        self.host = self.gpu = 0.0

    def mark(self) -> float:
        self.gpu = max(self.gpu, self.host)
        return self.gpu

    def wait(self, mark: float) -> None:
        self.host = max(self.host, mark)

    def seconds(self, first: float, second: float) -> float:
        return second - first

    def step(self, _batch: Any) -> None:
        self.gpu = max(self.gpu, self.host) + 1.0

    def batches(self, *, host: float = 0.0, every: float = 0.0) -> Iterator[None]:
        """`host` seconds of the host's in each `next`; on the GPU a batch is there every so many seconds."""
        there = 0.0
        while True:
            self.host += host
            there = max(there, self.host) + every
            self.gpu = max(self.gpu, there)  # the consumer's stream waits for the batch's event
            yield None


@pytest.mark.parametrize(
    ("host", "every", "waiting"),
    [
        (0.0, 0.0, 0.0),
        (0.5, 0.0, 0.0),  # the host takes its time while the GPU still works: nothing is lost
        (0.0, 0.9, 0.0),  # batches that are only queued when they are handed over, but come in time
        (2.0, 0.0, 0.5),  # half of every two seconds without anything to do
        (0.0, 4.0, 0.75),  # `next` returns at once, and the batch is not there for long
    ],
)
def test_waiting_for_data_is_the_idle_time_of_the_gpu(host: float, every: float, waiting: float) -> None:
    gpu = ImaginedGpu()
    found = training.run(gpu.batches(host=host, every=every), gpu.step, gpu, steps=40)
    assert found.waiting == pytest.approx(waiting, abs=0.02)


def test_nothing_is_measured_without_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: object() if name == "nvidia" else None)
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    monkeypatch.setattr(needs, "build", lambda: pytest.fail("without torch nothing is built"))
    assert gpu_check.main() == 2
    said = capsys.readouterr().err
    for words in (
        "where pip has no network: docs/dali.md",
        "torch is not installed",
        'nvidia.dali is not installed: pip install ".[dali-cuda13]"',
        "skimage",
    ):
        assert words in said
    assert "--without webdataset" in said
    left = needs.missing({"dali", "webdataset"}, stand_ins=False)
    assert not any(word in sentence for sentence in left for word in ("dali", "webdataset", "skimage"))


def test_no_package_nvidia_at_all_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'nvidia'")

    monkeypatch.setattr(needs, "find_spec", nothing)
    assert not needs.installed("nvidia.dali")


def test_crop_ready_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        gpu_check.parse(["--crop-ready", "somewhere"])
    assert end.value.code == 2
    assert "--crop-ready needs --plain" in capsys.readouterr().err


def test_a_gpu_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(needs, "missing", lambda *rest, **options: [])
    monkeypatch.setattr("sys.argv", ["gpu_check", "--device", "cuda:99", "--no-build"])
    assert gpu_check.main() == 2
    assert "device='cuda:99': " in capsys.readouterr().err


def test_an_extension_that_does_not_load(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(needs, "missing", lambda *rest, **options: [])
    monkeypatch.setitem(sys.modules, "genimage_stream.decode", None)
    monkeypatch.setattr("sys.argv", ["gpu_check", "--no-build"])
    assert gpu_check.main() == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "the extension does not load: " in said
    section = re.search(r'docs/dali.md, "(.*?)"', said)
    assert section
    assert f"\n## {section[1]}\n" in (needs.ROOT / "docs/dali.md").read_text()


def test_an_extension_older_than_a_source_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = tmp_path / needs.DECODE / "core"
    core.mkdir(parents=True)
    source, setup = core / "a.cpp", tmp_path / "setup.py"
    source.write_text("")
    setup.write_text("import sys; sys.exit('no compiler anywhere')")
    assert needs.is_stale(tmp_path), "there is none"
    built = core.parent / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    built.write_text("")
    for path in (source, setup):
        os.utime(path, (1, 1))
    assert not needs.is_stale(tmp_path)
    needs.build(tmp_path)  # nothing to do
    os.utime(source, (2**32, 2**32))
    assert needs.is_stale(tmp_path)
    with pytest.raises(needs.NotReadyError, match=r"--no-build.*\s*no compiler anywhere"):
        needs.build(tmp_path)


def test_a_gpu_is_asked_for_by_its_uuid_and_fields_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, 'echo "$@" >> "$0.log"\necho "37, [N/A]"')
    with gpu_use.GpuUse("GPU-1234", every_seconds=0.01) as use:
        while len(use._samples) < 3:
            pass
    assert use.mean(0, float("inf")) == {"utilization.gpu": 37, "utilization.jpeg": None}
    assert "-i GPU-1234" in (tmp_path / "nvidia-smi.log").read_text()
    assert use.mean(0, 0) == use.peak(0, 0) == {"utilization.gpu": None, "utilization.jpeg": None}


def test_a_driver_that_does_not_know_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, 'echo "$@" >> "$0.log"\ncase "$*" in *jpeg*) exit 2;; esac\necho 41')
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample() for _ in range(5)] == [(41,)] * 5
    assert (tmp_path / "nvidia-smi.log").read_text().count("jpeg") == 3, "it has been believed by then"


def test_one_call_that_fails_costs_one_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = 'if [ ! -e "$0.$1" ]; then touch "$0.$1"; exit 1; fi'  # each question fails the first time
    nvidia_smi(tmp_path, monkeypatch, f'{once}\necho "5, 6"')
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample(), asked.sample()] == [(), (5, 6)]


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stands in for the real one, on a machine without pynvml."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_nvml_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    jpegs = [(0, 1), NVMLError(), (35, 1)]

    def decoder(_: Any) -> Any:
        answer = jpegs.pop(0)
        if isinstance(answer, NVMLError):
            raise answer
        return answer

    pynvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=50, memory=1),
        nvmlDeviceGetJpgUtilization=decoder,
    )
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample() for _ in range(3)] == [(50, 0), (50, None), (50, 35)]
    use = gpu_use.GpuUse("GPU-1234")
    use._samples = [(1, (50, 0)), (2, (50, None)), (3, (50, 35)), (4, (90, 99))]
    assert use.mean(0, 3) == {"utilization.gpu": 50, "utilization.jpeg": 17.5}
    assert use.peak(0, 3) == {"utilization.gpu": 50, "utilization.jpeg": 35}


def test_the_gpu_of_the_device_is_meant() -> None:
    assert replace(SETTING, device="cuda:1").gpu == 1
    assert chosen({"webdataset"}, {"plain": ""}) == ["dali-plain", "cpu-plain", "dali-own", "dali-own-sliced"]
    assert chosen({"dali"}, {"plain": "", "crop-ready": ""}) == ["cpu-plain", "cpu-crop-ready", "webdataset"]


def test_a_contestant_that_cannot_start_says_why(tmp_path: Path) -> None:
    replace(SETTING, folders={"plain": str(tmp_path / "nowhere")}).save(tmp_path / "setting.json")
    process = Process("cpu-plain", tmp_path / "setting.json", 100)
    try:
        assert process.answer() == {"gpu": None, "uuid": None}
        with pytest.raises(ContestantError, match=r"cpu-plain.*nowhere"):
            process.ask(do="open", stream="mixed")
    finally:
        process.close()


def test_ratios_are_to_the_faster_of_dalis_own_round_by_round() -> None:
    def rounds(*rates: float) -> list[dict[str, Any]]:
        return [{"images": rate, "seconds": 1.0, "cpu_seconds": 2.0, "utilization.gpu": None} for rate in rates]

    mixed = {"dali-crop-ready": rounds(500, 300), "dali-own": rounds(40, 50), "dali-own-sliced": rounds(100, 100)}
    training = {"dali-crop-ready": {"images_per_second": 9.0, "alone": 10.0, "waiting": 0.031}}
    outcome = Outcome(answers={"mixed": mixed}, rounds={"mixed": 2}, training=training)
    assert outcome.baseline() == "dali-own-sliced"
    assert outcome.ratio("dali-crop-ready") == "4.00 (3.00-5.00)"
    assert "| ResNet-50 step waits for data | under 5 % | 3.1% |" in report.goals_table(outcome)
    assert "times DALI's own, crop while decoding" in report.rate_table(outcome, "mixed")
    assert "| 2.0 | - | - |" in report.rate_table(outcome, "mixed")
    assert Outcome().ratio("dali-crop-ready") == "-"
    assert "not measured" in report.goals_table(Outcome())
