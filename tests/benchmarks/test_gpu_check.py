"""The GPU check: a whole run in CPU mode, its messages when it cannot start, and its results."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from benchmarks import gpu_check
from benchmarks.gpu import checks, contestants, needs, report
from benchmarks.gpu.checks import Checked
from benchmarks.gpu.contestants import BEST, CONTESTANTS, TRAINED_LAST
from benchmarks.gpu.rounds import Outcome
from benchmarks.growth import make_large
from genimage_stream.backends import finishing as on_device
from genimage_stream.bench.process import ContestantError
from tests.fixtures.gpu_contest import SETTING, MadeUp


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
    options = large.access.info.fields["options"]
    assert "crop_ready" in options
    assert options == gs.open_dataset(folder).access.info.fields["options"]
    assert sum(len(batch) for batch in gs.Loader(large, 100, crop=32)) == 1000


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
    monkeypatch.setattr(on_device, "look_up", lambda table, pixels: np.zeros(pixels.shape, table.dtype))
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


def test_the_extension_is_built_by_setup_py(tmp_path: Path) -> None:
    """Which knows by the contents of the sources what to compile."""
    setup = tmp_path / "setup.py"
    setup.write_text("import sys; open('asked', 'w').write(' '.join(sys.argv[1:]))")
    needs.build(tmp_path)
    assert (tmp_path / "asked").read_text() == "-q build_ext --inplace"
    setup.write_text("import sys; sys.exit('no compiler anywhere')")
    with pytest.raises(needs.NotReadyError, match=r"--no-build.*\s*no compiler anywhere"):
        needs.build(tmp_path)


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
    on_a_gpu: list[Any], tmp_path: Path, made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "results"
    in_the_way.write_text("a file where the folder should be")
    made_up.script["cpu-crop-ready", "open reals"] = in_the_way.unlink
    assert gpu_check.check(*on_a_gpu) == 0
    assert "FileExistsError" in capsys.readouterr().err
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
