"""The committed results: README and docs show them and nothing else, the prediction follows from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from benchmarks import model, packing, readme
from benchmarks.chart import line_chart
from benchmarks.comparison import compared_with, times_heading
from benchmarks.full import PARTS
from benchmarks.harness import RESULTS, Measurement, ratio_text

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("part", readme.PARTS)
def test_what_is_shown_is_the_result(part: str) -> None:
    name, make = readme.PARTS[part]
    found = readme.marked(part).search((ROOT / name).read_text())
    assert found, f"{name} has no part {part}"
    assert found[2] == make(), "run python -m benchmarks.readme"


def test_ratios_are_to_the_best_peer_first() -> None:
    rates = {"genimage-stream": 9.0, "genimage-stream, crop-ready shards": 20.0, "A (half)": 5.0, "B": 4.0, "slow": 1.0}
    assert compared_with(rates, "slow") == ["A (half)", "slow"]
    assert compared_with(rates, "A (half)") == ["A (half)"]
    assert compared_with({"genimage-stream": 9.0}, "slow") == []
    assert times_heading("A (half)") == "times A"


def test_readme_without_its_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be left out of a run like any other."""
    results = readme.result("end_to_end")
    mix = results["comparisons"]["mix"]
    del mix["loaders"][readme.BASELINE]
    mix["left_out"] = {readme.BASELINE: "webdataset_pillow: ended without an answer"}
    monkeypatch.setattr(readme, "result", lambda name: results)
    shown = readme.speed()
    assert "| genimage-stream |" in shown
    assert f"There are no ratios to {readme.BASELINE}" in shown
    assert "Left out: webdataset_pillow: ended without an answer." in shown


def test_readme_has_no_other_figures_of_speed() -> None:
    text = (ROOT / "README.md").read_text()
    for part in ("speed", "demo"):
        text = readme.marked(part).sub("", text)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\d[\d,.]*(?:\s*(?:img|images?)(?:/s| per| a)|\s*times\b|\s?x\b|\s?%)", text)
    assert not found, f"figures that no result stands behind: {found}"


def test_pictures_of_the_docs_are_there_and_described() -> None:
    for name in ("README.md", "docs/scaling.md"):
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", (ROOT / name).read_text()):
            path = ((ROOT / name).parent / target).resolve()
            assert path.exists(), f"{name}: {target}"
            assert words
            if path.suffix == ".svg":
                assert ElementTree.fromstring(path.read_text()).attrib["role"] == "img"
            else:
                Image.open(path).verify()


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_where_it_comes_from(path: Path) -> None:
    data = json.loads(path.read_text())
    assert data["machine"]["processor"]
    assert data["title"]
    assert data["date"]


def test_parts_of_the_full_run_fit_into_an_hour() -> None:
    assert sum(part.minutes for part in PARTS.values()) <= 60


def test_every_result_is_made_by_a_part() -> None:
    """What is committed is what make bench-full makes."""
    results = {
        "end_to_end": "mix",
        "index_size": "index",
        "crop_ready": "crop-ready",
        "index_shared": "index-shared",
        "gpu-check-cpu-mode": "gpu",
    }
    for path in RESULTS.glob("*.json"):
        assert results.get(path.stem, path.stem) in PARTS


def test_packing_table_has_spread_and_range() -> None:
    ours, theirs = Measurement("a", 10, (1.0, 1.0, 2.0)), Measurement("b", 10, (3.0, 4.0, 4.0))
    watch = packing.Watch()
    watch.cpu = {"a": [1.0], "b": [2.0]}
    row = packing.rows({"a": ours, "b": theirs}, watch, 1000, {"times b": "b"}).splitlines()[2]
    assert row == "| a | 10 | 50% | 0 | 1.00 | 3.00 (2.00-4.00) |"


def result(cpu_us: float) -> tuple[dict[str, Any], dict[str, Any]]:
    one = {"cpu_us_per_image": cpu_us, "bytes_per_image": 250_000, "read_bytes_per_image": 100_000}
    scaling = {"machine": {"cpus": 2}, "threads": {"1": {"original": one, "crop-ready": one}}}
    index = {"sizes": {"1000": {"interpreter_seconds_per_batch": [9.0]}, "2681167": {}}}
    index["sizes"]["2681167"]["interpreter_seconds_per_batch"] = [0.001, 0.0005, 0.002]
    return scaling, index


def test_model_is_the_smallest_of_its_parts() -> None:
    scaling, index = result(1000)
    costs = model.measured(scaling, index, "original")
    assert costs.interpreter == 0.001, "the median, of the largest index"
    two = model.Machine(2, 1e12, 1e12)
    found = model.limits(two, costs, "memory")
    assert found["cores"] == pytest.approx(2 / 0.001), "on the machine of the measurement it is the measurement"
    assert found["consumer"] == pytest.approx(64_000)
    assert model.limits(two, costs, "nvme")["cores"] < found["cores"], "threads wait for their bytes"
    assert model.limits(two, costs, "store")["requests"] == pytest.approx(64 / 0.03)
    assert "requests" not in model.limits(two, costs, "store-tuned")
    assert model.limits(two, costs, "memory", output="uint8")["memory bandwidth"] > found["memory bandwidth"]
    for machine in model.MACHINES:
        assert model.limits(machine, costs, "memory")["cores"] < machine.cores / costs.cpu


def test_prediction_says_what_it_is() -> None:
    shown = model.prediction(*result(800))
    assert "Predicted images per second" in shown
    assert all(f"| {machine.cores} |" in shown for machine in model.MACHINES)
    page = (ROOT / "docs/scaling.md").read_text()
    assert "Predicted, not measured" in page
    for value in (model.MEMORY_SHARE, model.NETWORK_SHARE, model.DOUBLING):
        assert f"{value:g}" in page, "the text gives the assumptions"
    assert "Predicted, not measured" in model.chart(*result(800))


def test_two_digits() -> None:
    assert [model.rounded(v) for v in (123456, 1849, 99.6, 7.77)] == [120000, 1800, 100, 7.8]


def test_spread_of_a_few_rounds_lies_within_them() -> None:
    assert Measurement("a", 1, (1.0,)).spread == 0
    assert Measurement("a", 1, (1.0, 3.0)).spread == pytest.approx(0.5)  # quartiles 1.5 and 2.5, median 2
    assert Measurement("a", 1, (1.0, 2.0, 3.0)).spread == pytest.approx(0.5)


def test_ratio_of_rounds_and_its_range() -> None:
    ours, theirs = Measurement("a", 10, (1.0, 1.0, 2.0)), Measurement("b", 10, (3.0, 4.0, 4.0))
    assert ours.ratios(theirs) == pytest.approx((3.0, 4.0, 2.0))
    assert ours.times_faster(theirs) == pytest.approx(3.0)
    assert ratio_text(ours.ratios(theirs)) == "3.00 (2.00-4.00)"
    assert ratio_text(theirs.ratios(theirs)) == "1.00"


def test_line_chart_is_well_formed_and_described() -> None:
    series = {
        "a & b": [(1, 10.0, 9.0, 11.0), (1000, 20.0, 20.0, 20.0)],
        "c": [(1, 1.0, 1.0, 1.0), (1000, 2.0, 2.0, 2.0)],
    }
    for log_x in (False, True):
        chart = line_chart(series, "<t>", x_label="x", y_label="y", log_x=log_x)
        root = ElementTree.fromstring(chart)
        assert "a & b: 1: 10, 1,000: 20" in "".join(root.itertext())
        assert "nan" not in chart
