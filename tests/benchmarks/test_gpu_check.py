"""The GPU check: to its end in CPU mode, what it says when it cannot begin, and what a GPU alone would show."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import genimage_stream as gs
from benchmarks import gpu_check
from benchmarks.gpu import checks, contestants, gpu_use, needs, report, rounds, serve, training
from benchmarks.gpu.checks import Checked
from benchmarks.gpu.client import ContestantError, Process
from benchmarks.gpu.contestants import BEST, CONTESTANTS, TRAINED_LAST, chosen
from benchmarks.gpu.rounds import Contest, Limits, Outcome
from benchmarks.gpu.setting import Setting
from benchmarks.growth import make_large
from genimage_stream import on_device
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
    assert not any(word in sentence for sentence in left for word in ("dali", "webdataset", "skimage", "PIL"))
    assert any("PIL is not installed" in sentence for sentence in needs.missing({"dali"}, stand_ins=False))


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


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--minutes", "-1"], ["--steps", "-3"], ["--epoch", "0"]])
def test_figures_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        gpu_check.parse(words)
    assert end.value.code == 2
    assert f"{words[0]}={words[1]}" in capsys.readouterr().err


def test_datasets_are_looked_at_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--plain", tmp_path / "nowhere"], "nowhere"),
        (["--plain", folder, "--crop-ready", folder], "was packed without --crop-ready"),
    ):
        monkeypatch.setattr("sys.argv", ["gpu_check", "--no-build", "--device", "cpu", *map(str, words)])
        monkeypatch.setattr(needs, "missing", lambda *_, **__: [])
        assert gpu_check.main() == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error


def test_kernels_are_measured_in_a_process_of_their_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the emulation; in the tests' data nothing is crop-ready, so all is left to the CPU."""
    few = ["--images", "2", "--rounds", "1", "--repeat", "1"]
    section, figures = gpu_check.own_kernels({"crop-ready": folder}, replace(SETTING, crop=32), *few)
    assert {one["kind"] for one in figures} >= {"JPEG"}
    assert all(one["left"] == one["images"] == 2 for one in figures)
    assert "JPEG: none of the 2 is for the kernels" in section
    section, figures = gpu_check.own_kernels({"crop-ready": tmp_path / "gone"}, SETTING)
    assert "gone" in section
    assert "Error" in capsys.readouterr().err
    section, figures = gpu_check.own_kernels({"crop-ready": folder}, SETTING, patience=0)
    assert figures == ["no end within 0 s"]


def test_kernels_that_differ_are_a_failure(on_a_gpu: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"kind": "JPEG", "images": 2, "left": 0, "cpu": 1.0, "gpu": 2.0, "kernel": 3.0, "times": [2.0], "sent": 10.0}
    assert gpu_check.check(*on_a_gpu) == 0
    for equal, code in ((True, 0), (False, 1)):
        figures = [{**one, "equal": equal}, "PNG 256: RuntimeError: gone"]
        section = report.kernels_table(figures, 16)  # type: ignore[arg-type]
        assert ("DIFFERENT" in section) != equal
        assert "* Not measured: PNG 256: RuntimeError: gone" in section
        monkeypatch.setattr(gpu_check, "own_kernels", lambda *_, found=(section, figures): found)
        assert gpu_check.check(*on_a_gpu) == code


def test_jpegs_in_other_places_are_a_difference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU they may differ a little, which must not hide that they are other pixels."""
    here = gs.fidelity(gs.open_dataset(folder), crop=32)
    for mean, right in ((0.5, True), (80.0, False)):
        there = [replace(one, largest=255, mean=mean) if one.stream == "real" else one for one in here]
        monkeypatch.setattr(gs, "fidelity", lambda *_, found=there, **__: found)
        monkeypatch.setattr(checks, "finished_alike", lambda *_: True)
        assert checks.pixels(gs.open_dataset(folder), replace(SETTING, device="cuda:0"))["correct"] == right


def test_what_the_device_makes_of_bytes_is_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(SETTING, crop=32)
    assert checks.finished_alike(gs.open_dataset(folder), setting) is True
    assert checks.finished_alike(gs.open_dataset(folder).select(formats=["jpeg"]), setting) is None
    monkeypatch.setattr(on_device, "_looked_up", lambda table, pixels: np.zeros(pixels.shape, table.dtype))
    assert checks.finished_alike(gs.open_dataset(folder), setting) is False


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


def test_what_matters_most_comes_first() -> None:
    assert chosen({"webdataset"}, {"plain": ""}) == ["dali-own-sliced", "dali-own", "cpu-plain", "dali-plain"]
    assert chosen({"dali"}, {"plain": "", "crop-ready": ""}) == ["cpu-crop-ready", "cpu-plain", "webdataset"]
    assert [*chosen(set(), {"plain": "", "crop-ready": ""})][:2] == list(BEST)
    assert {*BEST, *TRAINED_LAST} == CONTESTANTS.keys() - {"webdataset"}


def test_a_contestant_that_fails_says_why_and_can_be_asked_again(tmp_path: Path) -> None:
    process = started(tmp_path, "cpu-plain")
    try:
        assert process.answer(100) == {"gpu": None, "uuid": None}
        for _ in range(2):
            with pytest.raises(ContestantError, match=r"cpu-plain.*nowhere") as failure:
                process.ask(100, do="open", stream="mixed")
            assert failure.value.alive
        assert any("nowhere" in line for line in process.last_words())
    finally:
        Process.close_all([process])
    with pytest.raises(ContestantError, match="has ended"):
        process.ask(100, do="open", stream="mixed")


def test_who_hangs_says_where_and_is_ended(tmp_path: Path) -> None:
    process = started(tmp_path, "cpu-plain")
    try:
        process.answer(100)
        with pytest.raises(ContestantError, match=r"no answer within \d+ s") as failure:
            process.answer(1)  # to what nobody asked
        assert not failure.value.alive
        assert "serve.py" in "".join(process.last_words())
        process._process.wait()
        with pytest.raises(ContestantError, match="has ended by SIGKILL"):
            process.send(do="open", stream="mixed")
    finally:
        Process.close_all([process])


def test_who_is_killed_says_by_what(tmp_path: Path) -> None:
    process = started(tmp_path, "cpu-plain")
    try:
        process.answer(100)
        os.kill(process._process.pid, signal.SIGBUS)  # as where shared memory runs out
        with pytest.raises(ContestantError, match="ended without an answer by SIGBUS"):
            process.answer(100)
    finally:
        Process.close_all([process])


def started(folder: Path, name: str) -> Process:
    replace(SETTING, folders={"plain": str(folder / "nowhere")}).save(folder / "setting.json")
    return Process(name, folder / "setting.json")


def test_one_that_does_not_end_by_itself_is_killed_with_its_workers(tmp_path: Path) -> None:
    process = started(tmp_path, "cpu-plain")
    process._process.kill()
    process._process.wait()
    deaf = "import subprocess, time; subprocess.Popen(['sleep', '1000']); print(1, flush=True); time.sleep(1000)"
    process._process = subprocess.Popen(
        [sys.executable, "-c", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process._process.stdout is not None
    process._process.stdout.readline()
    assert process.rests()
    (worker,) = process._workers()
    Process.close_all([process], seconds=0.1)
    assert process._process.returncode == -signal.SIGKILL
    while Path(f"/proc/{worker}").exists() and ") Z" not in Path(f"/proc/{worker}/stat").read_text():
        pass


# -- a contest of processes that are made up ---------------------------------------------------------------------------


class MadeUp:
    """In the place of Process. `script`: by contestant and what it is asked ("start", "open mixed", "train", ...), the
    error that it answers with."""

    script: ClassVar[dict[tuple[str, str], BaseException]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []
    ended: ClassVar[list[str]] = []

    def __init__(self, name: str, setting: Path) -> None:
        self.name = name

    def answer(self, patience: float) -> dict[str, Any]:
        return self._say("start", {"gpu": "A GPU", "uuid": None})

    def ask(self, patience: float, **request: Any) -> dict[str, Any]:
        assert 0 < patience <= 120
        rate = {"images": 100, "seconds": 1.0, "cpu_seconds": 2.0, "begin": 0.0, "end": 1.0}
        training = {"images_per_second": 9.0, "alone": 10.0, "waiting": 0.1}
        answers: dict[str, Any] = {"open": {"options": {}, "libraries": []}, "rate": rate, "train": training}
        return self._say(" ".join(filter(None, [request["do"], request.get("stream")])), answers[request["do"]])

    def _say(self, what: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((self.name, what))
        if (error := self.script.get((self.name, what))) is not None:
            raise error
        return dict(answer)

    def rests(self) -> bool:
        return self.name != "cpu-plain"

    def last_words(self) -> list[str]:
        return ["its last words"]

    def end(self) -> None:
        self.ended.append(self.name)

    @staticmethod
    def close_all(processes: Any) -> None:
        pass


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    monkeypatch.setattr(rounds, "Process", MadeUp)
    monkeypatch.setattr(MadeUp, "script", {})
    monkeypatch.setattr(MadeUp, "asked", [])
    monkeypatch.setattr(MadeUp, "ended", [])
    return MadeUp


def contest(*names: str, minutes: float = 5) -> Contest:
    limits = Limits(time.monotonic() + 60 * minutes, 60, 120, least=30)
    return Contest(names, Path("setting.json"), limits, rounds=2, seconds=0.1, steps=20)


def test_a_late_failure_costs_nothing_earlier(made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]) -> None:
    made_up.script["dali-plain", "rate reals"] = ContestantError("dali-plain: no answer within 60 s")
    made_up.script["cpu-plain", "open fakes"] = ContestantError("cpu-plain: torn", alive=True)
    with contest("cpu-crop-ready", "dali-plain", "cpu-plain") as running:
        running.start()
        for stream in ("mixed", "reals", "fakes"):
            running.measure(stream)
        outcome = running.outcome
    assert {stream: sorted(answers) for stream, answers in outcome.answers.items()} == {
        "mixed": ["cpu-crop-ready", "cpu-plain", "dali-plain"],
        "reals": ["cpu-crop-ready", "cpu-plain"],
        "fakes": ["cpu-crop-ready"],
    }
    assert outcome.left_out.keys() == {"dali-plain", "cpu-plain"} == set(made_up.ended)
    assert "its last words" in capsys.readouterr().err
    assert all(len(answers) == 2 for stream in outcome.answers.values() for answers in stream.values())
    assert report.rate_table(outcome, "mixed").count("genimage-stream") == 3


def test_a_contestant_that_gives_up_between_rounds_has_no_half_measurement(made_up: type[MadeUp]) -> None:
    with contest("cpu-crop-ready", "cpu-plain") as running:
        running.start()
        running._open("cpu-plain", "mixed")
        running._turn("cpu-plain", "mixed", 0)
        made_up.script["cpu-plain", "rate mixed"] = ContestantError("gone")
        running._turn("cpu-plain", "mixed", 1)
    assert running.outcome.answers == {"mixed": {}}


def test_a_training_that_fails_costs_the_training_alone(made_up: type[MadeUp]) -> None:
    made_up.script["cpu-crop-ready", "train"] = ContestantError("cpu-crop-ready: out of memory", alive=True)
    made_up.script["dali-crop-ready", "train"] = ContestantError("dali-crop-ready: no answer within 120 s")
    with contest(*BEST) as running:
        running.start()
        running.measure("mixed")
        for name in BEST:
            running.train(name)
        running.measure("reals")
    outcome = running.outcome
    assert outcome.training_failed.keys() == set(BEST)
    assert not outcome.left_out
    assert outcome.answers["mixed"].keys() == outcome.answers["reals"].keys() == set(BEST)
    assert made_up.asked.count(("dali-crop-ready", "start")) == 2, "it hung, and a new one takes its place"
    assert made_up.asked.count(("cpu-crop-ready", "start")) == 1
    assert (
        "CPU + copy, crop-ready, training: cpu-crop-ready: out of memory"
        in report.sections(outcome, on_gpu=True)["Gave up"]
    )


def test_after_the_deadline_only_what_is_necessary(made_up: type[MadeUp]) -> None:
    with contest(*BEST, minutes=-1) as running:
        running.start()
        running.measure("mixed")
        running.train("cpu-crop-ready")
        running.measure("reals")
    outcome = running.outcome
    assert outcome.rounds == {"mixed": 1}
    assert outcome.answers["mixed"].keys() == set(BEST)
    assert not outcome.training
    assert outcome.no_time == ["training, cpu-crop-ready", "reals"]
    assert "reals" in report.sections(outcome, on_gpu=True)["Not measured"]


def test_several_that_hang_leave_time_to_the_others() -> None:
    now = time.monotonic()
    assert Limits(now + 3000, 60, 120, least=30).wait() == 60
    assert Limits(now + 3000, 60, 120, least=30).wait(long=True) == 120
    assert Limits(now + 120, 60, 120, least=30).wait() == pytest.approx(40, abs=5)
    assert Limits(now - 10, 60, 120, least=30).wait() == 30
    assert Limits(now - 10, 60, 120, least=30).wait(long=True) == 60


@pytest.fixture
def on_a_gpu(folder: Path, tmp_path: Path, made_up: type[MadeUp], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of gpu_check.check with a GPU, processes and checks that are made up."""
    checked = Checked(True, {"Pixels": "as they should be"}, {})
    monkeypatch.setattr(checks, "run", lambda *rest, **options: checked)
    monkeypatch.setattr(gpu_check, "own_kernels", lambda *_: ("not here", None))
    monkeypatch.setattr(contestants, "shared_memory", lambda _: None)
    words = ["--plain", folder, "--crop-ready", folder, "--epoch", "100", "--results", tmp_path / "results"]
    words += ["--batch-size", 1, "--seconds", 0.1, "--rounds", 2, "--steps", 20]
    given = gpu_check.parse([str(word) for word in words])
    return [given, "cuda:0", tmp_path, time.monotonic() + 300]


def test_results_are_there_before_the_end(on_a_gpu: list[Any], tmp_path: Path, made_up: type[MadeUp]) -> None:
    made_up.script["cpu-crop-ready", "open reals"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        gpu_check.check(*on_a_gpu)
    text = (tmp_path / "results/gpu.md").read_text()
    for heading in ("All images", "Goals", "A ResNet-50 training step", "Pixels"):
        assert f"## {heading}" in text
    trained = [name for name, what in made_up.asked if what == "train"]
    assert trained == list(BEST), "before reals and fakes, the others after them"


def test_the_whole_check(
    on_a_gpu: list[Any], tmp_path: Path, made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_check.check(*on_a_gpu) == 0
    said = capsys.readouterr()
    assert said.out.rstrip().endswith("Pixels that must be equal are equal.")
    assert "| ResNet-50 step waits for data | under 5 % | 10.0% | 10.0% | 10.0% |" in said.err
    assert said.err.count("cpu-plain does not come to rest") == 1
    assert "others' turn, which cost those something: genimage-stream, CPU + copy, plain." in said.out
    assert [name for name, what in made_up.asked if what == "train"] == [*BEST, *TRAINED_LAST]
    data = json.loads((tmp_path / "results/gpu.json").read_text())
    assert data["training"].keys() == {*BEST, *TRAINED_LAST}
    assert {row["stream"] for row in data["rates"]} == {"mixed", "reals", "fakes"}


def test_nobody_is_left(on_a_gpu: list[Any], made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]) -> None:
    for name in CONTESTANTS:
        made_up.script[name, "start"] = ContestantError(f"{name}: no CUDA", alive=True)
    assert gpu_check.check(*on_a_gpu) == 1
    said = capsys.readouterr().out
    assert "NOTHING WAS MEASURED" in said
    assert "* webdataset + Pillow: webdataset: no CUDA" in said


def test_results_that_cannot_be_written_now_may_be_later(
    on_a_gpu: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, left = gpu_check.Book._write, [OSError("no space left"), ZeroDivisionError()]

    def moody(self: Any) -> Any:
        if left:
            raise left.pop()
        return write(self)

    monkeypatch.setattr(gpu_check.Book, "_write", moody)
    assert gpu_check.check(*on_a_gpu) == 0
    assert "no space left" in capsys.readouterr().err
    assert (tmp_path / "results/gpu.md").exists()


def test_what_hangs_or_fails_in_the_checks_is_a_section(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "setting.json"
    replace(SETTING, crop=32).save(saved)
    found = checks.run({"plain": folder, "gone": tmp_path / "gone"}, saved, dali=False, patience=100)
    assert found.correct
    assert found.sections == {"Decoded on the CPU, copied to the device": "bit-equal"}
    found = checks.run({"gone": tmp_path / "gone"}, saved, dali=True, patience=100)
    assert found.correct is None
    assert all(text.startswith("Not compared: ") and "/gone" in text for text in found.sections.values())
    assert len(found.sections) == 2
    found = checks.run({"plain": folder}, saved, dali=True, patience=0)  # no time at all
    assert found.correct is None
    assert "no answer within" in found.sections["Pixels against the CPU's, plain shards"]
    assert "not known" in report.short_table(Outcome(), found.correct)


def test_shared_memory_is_looked_at_before(tmp_path: Path) -> None:
    setting = replace(SETTING, threads=16, shards=("a.tar",) * 100)
    assert contestants.shared_memory(replace(setting, batch_size=1, crop=1), str(tmp_path)) is None
    why = contestants.shared_memory(replace(setting, batch_size=10**9), str(tmp_path))
    assert why is not None
    assert "16 workers need" in why
    assert "--shm-size" in why
    assert "No such file" in str(contestants.shared_memory(setting, str(tmp_path / "none")))
    outcome = Outcome(unfit={"webdataset": why})
    assert f"* webdataset + Pillow: {why}" in report.sections(outcome, on_gpu=True)["Not measured"]


def test_a_decoder_that_is_missing_is_said(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00 r-xp /site/nvidia/nvimgcodec/extensions/libnvjpeg_ext.so.0.9.0\n7f01 r-xp /a/libnvcuvid.so.1\n"
    )
    assert serve.mapped(maps) == ["libnvcuvid"]
    assert serve.mapped(tmp_path / "none") is None

    def said(libraries: Any, *peaks: float | None) -> str:
        answers = [{"jpeg_peak": peak} for peak in peaks]
        opened = {"dali-plain": {"libraries": libraries}, "cpu-plain": {"libraries": []}}
        return report.decoder_table(Outcome(answers={"mixed": {"dali-plain": answers}}, opened=opened))

    both = ["libnvjpeg", "libnvcuvid"]
    assert "| genimage-stream, DALI, plain | yes | yes | 40 % |\n\nThe hardware decoder was used." in said(both, 0, 40)
    assert "was not used" in said(both, 0, None)
    assert "Its libraries were there" in said(both, 0)
    assert "| no | yes | 0 % |" in said(["libnvcuvid"], 0)
    assert "pip install nvidia-nvjpeg" in said(["libnvcuvid"], 0)
    assert '"video" capability' in said(["libnvjpeg"], 0)
    assert "is not known" in said(None, None)
    assert "CPU + copy" not in said(both, 0)


def test_ratios_are_to_the_faster_of_dalis_own_round_by_round() -> None:
    def rounds(*rates: float) -> list[dict[str, Any]]:
        return [{"images": rate, "seconds": 1.0, "cpu_seconds": 2.0, "utilization.gpu": None} for rate in rates]

    mixed = {"dali-crop-ready": rounds(500, 300), "dali-own": rounds(40, 50), "dali-own-sliced": rounds(100, 100)}
    training = {"dali-crop-ready": {"images_per_second": 9.0, "alone": 10.0, "waiting": 0.031}}
    outcome = Outcome(answers={"mixed": mixed}, rounds={"mixed": 2}, training=training)
    assert outcome.baseline() == "dali-own-sliced"
    assert outcome.ratio("dali-crop-ready") == "4.00 (3.00-5.00)"
    assert "| ResNet-50 step waits for data | under 5 % | 3.1% | not measured | 3.1% |" in report.goals_table(outcome)
    assert "times DALI's own, crop while decoding" in report.rate_table(outcome, "mixed")
    assert "| 2.0 | - | - |" in report.rate_table(outcome, "mixed")
    assert Outcome().ratio("dali-crop-ready") == "-"
    assert report.goals_table(Outcome()).count("not measured") == 9


def test_goals_are_those_of_the_faster() -> None:
    def once(rate: float) -> list[dict[str, Any]]:
        return [{"images": rate, "seconds": 1.0, "cpu_seconds": 2.0, "utilization.gpu": None}]

    outcome = Outcome(answers={"mixed": {"cpu-crop-ready": once(600), "dali-crop-ready": once(500)}})
    table = report.goals_table(outcome)
    assert "| CPU + copy | | |" in table
    assert "| images/s | 40,000 | 600 | 600 | 500 |" in table
