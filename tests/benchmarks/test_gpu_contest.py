"""The contestants of the GPU check: their processes, their turns, failures; the tables."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmarks.process
from benchmarks.gpu import contestants, report, serve, training
from benchmarks.gpu.client import Process
from benchmarks.gpu.contestants import BEST, CONTESTANTS, TRAINED_LAST, chosen
from benchmarks.gpu.rounds import Contest, Limits, Outcome
from genimage_stream.bench.process import ContestantError, process_tree
from tests.fixtures.gpu_contest import SETTING, MadeUp


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
        with pytest.raises(ContestantError, match="has ended by SIGKILL"):
            process.send(do="open", stream="mixed")
    finally:
        Process.close_all([process])


def test_who_is_killed_says_by_what(tmp_path: Path) -> None:
    process = started(tmp_path, "cpu-plain")
    try:
        process.answer(100)
        os.kill(process.pid, signal.SIGBUS)  # as where shared memory runs out
        with pytest.raises(ContestantError, match="ended without an answer by SIGBUS"):
            process.answer(100)
    finally:
        Process.close_all([process])


def started(folder: Path, name: str) -> Process:
    replace(SETTING, folders={"plain": str(folder / "nowhere")}).save(folder / "setting.json")
    return Process(name, folder / "setting.json")


def test_one_that_does_not_end_by_itself_is_killed_with_its_workers(tmp_path: Path) -> None:
    process = benchmarks.process.Process("deaf", "tests.fixtures.deaf_process", tmp_path, tmp_path / "log")
    process.answer(100)
    assert process.rests()
    parent, worker = process_tree(process.pid)
    Process.close_all([process], seconds=0.1)
    assert not Path(f"/proc/{parent}").exists()
    while Path(f"/proc/{worker}").exists() and ") Z" not in Path(f"/proc/{worker}/stat").read_text():
        pass


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
        made_up.script["cpu-plain", "rate mixed"] = [None, ContestantError("gone")]
        running.measure("mixed")
    assert {name: len(answers) for name, answers in running.outcome.answers["mixed"].items()} == {"cpu-crop-ready": 2}


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
