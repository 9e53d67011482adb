"""Tables and matrices: groups, whose reals, means, intervals, and the forms in which they are written."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import genimage_stream as gs
from genimage_stream.page.scales import NONE
from tests.fixtures.shards import make_dataset, make_samples, write_dataset

FIELDS = [
    "group",
    "count",
    "accuracy",
    "real_accuracy",
    "fake_accuracy",
    "balanced_accuracy",
    "ap",
    "auc",
    "best_threshold",
    "best_accuracy",
    "eer",
    "tpr_at_5_fpr",
    "tpr_at_10_fpr",
    "real_count",
    "fake_count",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 30))


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    """adm has no reals, biggan no fakes, and there is a pool of reals."""
    samples = [s for s in make_samples(8, generators=("adm", "biggan", "sd14", "real")) if s.split == "val"]
    keep = {("adm", "fake"), ("biggan", "real"), ("sd14", "real"), ("sd14", "fake"), ("real", "real")}
    kept = [s for s in samples if (s.generator, s.label) in keep]
    return gs.open_dataset(write_dataset(tmp_path_factory.mktemp("pooled"), kept))


def scored(dataset: gs.Dataset, seed: int = 0, *degradations: str) -> gs.Scores:
    rng = np.random.default_rng(seed)
    scores = gs.Scores(dataset)
    for name in degradations or ("none",):
        fake = fakes(dataset)
        scores.add(np.arange(len(dataset)), np.clip(rng.normal(0.4 + 0.2 * fake, 0.2), 0, 1), degradation=name)
    return scores


def fakes(dataset: gs.Dataset) -> np.ndarray:
    return np.array([label == "fake" for label in dataset.table(["label"])["label"].to_pylist()])


def column(dataset: gs.Dataset, name: str) -> np.ndarray:
    return np.array(dataset.table([name])[name].to_pylist())


def test_a_row_per_subset_equals_scikit_learn(dataset: gs.Dataset) -> None:
    val = dataset.select(splits=["val"])
    scores = scored(val)
    own, pooled = scores.table(), scores.table(reals="pooled")
    p, fake, subset = scores.of(), fakes(val), column(val, "generator")
    for table, of_all in ((own, False), (pooled, True)):
        assert [list(row) for row in table.rows] == [FIELDS] * 3
        for row in table.rows:
            here = (subset == row["group"]) | (of_all & ~fake)
            assert row["ap"] == pytest.approx(average_precision_score(fake[here], p[here]), abs=1e-12)
            assert row["auc"] == pytest.approx(roc_auc_score(fake[here], p[here]), abs=1e-12)
            assert (row["count"], row["real_count"]) == (here.sum(), (here & ~fake).sum())
        assert table.mean["ap"] == pytest.approx(np.mean([row["ap"] for row in table.rows]), abs=1e-15)
        assert (table.mean["count"], table.mean["real_count"]) == (len(val), (~fake).sum())
        assert table.mean["undefined"] == {}
    assert own.row("adm") is own.rows[0]
    with pytest.raises(KeyError, match="no group 'glide'; it has adm, biggan, sd14"):
        own.row("glide")


def test_reals_of_the_pool_where_a_subset_has_none(pooled: gs.Dataset) -> None:
    scores = scored(pooled)
    own = scores.table()
    rows = {row["group"]: row for row in own.rows}
    assert list(rows) == ["adm", "biggan", "sd14"]  # "real" is no group
    assert (rows["adm"]["real_count"], rows["adm"]["fake_count"]) == (8, 8)
    assert (rows["sd14"]["real_count"], rows["sd14"]["fake_count"]) == (8, 8)
    assert (rows["biggan"]["real_count"], rows["biggan"]["fake_count"]) == (8, 0)
    assert own.notes == ('adm has no reals of its own: its reals are those of the pool "real".',)
    assert scored(pooled, 1, "none", "jpeg:65").table(by=["subset", "degradation"]).notes == own.notes
    p, fake, subset = scores.of(), fakes(pooled), column(pooled, "generator")
    here = np.isin(subset, ["adm", "real"])
    assert rows["adm"]["ap"] == pytest.approx(average_precision_score(fake[here], p[here]), abs=1e-12)
    # One label only: not defined, which is said; never 0.
    assert rows["biggan"]["ap"] is None
    assert rows["biggan"]["fake_accuracy"] is None
    assert rows["biggan"]["real_accuracy"] == np.mean(p[subset == "biggan"] <= 0.5)
    assert own.mean["undefined"]["ap"] == 1
    assert own.mean["ap"] == pytest.approx((rows["adm"]["ap"] + rows["sd14"]["ap"]) / 2)
    assert "AP for 1" in own.markdown()
    assert "of 3 groups" in own.markdown()
    every = scores.table(reals="pooled")
    assert [row["real_count"] for row in every.rows] == [24, 24, 24]
    assert every.notes == ()


def test_groups_by_other_columns_and_by_several(dataset: gs.Dataset) -> None:
    scores = scored(dataset, 1, "none", "jpeg:65")
    with pytest.raises(ValueError, match=r"scores of 2 degradations \(none, jpeg:65\)"):
        scores.table()
    one = scores.table(degradation="jpeg:65")
    both = scores.table(by=["subset", "degradation"])
    assert [row["group"] for row in both.rows][:2] == ["adm, none", "biggan, none"]
    assert list(both.rows[0])[:4] == ["group", "subset", "degradation", "count"]
    assert both.rows[3]["ap"] == one.rows[0]["ap"]
    assert both.mean["count"] == 2 * len(dataset)
    by_degradation = scores.table(by="degradation")
    assert scores.table(by="degrade") == by_degradation  # the loader's word
    assert [row["group"] for row in by_degradation.rows] == ["none", "jpeg:65"]
    fake = fakes(dataset)
    assert by_degradation.rows[1]["ap"] == pytest.approx(average_precision_score(fake, scores.of("jpeg:65")), abs=1e-12)
    by_split = scores.table(by=["split"], degradation="none")
    assert [row["group"] for row in by_split.rows] == ["train", "val"]
    by_format = scores.table(by="format", degradation="none")
    assert [row["ap"] for row in by_format.rows] == [None, None]
    assert len(scores.table(by="class_index", degradation="none").rows) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "generators"}, "by='generators': one or several of subset, degradation"),
        ({"by": []}, "are needed, each once"),
        ({"by": ["subset", "subset"]}, "each once"),
        ({"reals": "all"}, "reals='all' is not one of 'own', 'pooled'"),
        ({"degradation": "blur:1"}, "degradation='blur:1' is not one of 'none'"),
        ({"degradation": 65}, "a name is needed"),
        ({"bootstrap": -1}, "bootstrap=-1: at least 0"),
        ({"seed": "x"}, "seed='x': a whole number"),
    ],
)
def test_options_that_make_no_sense(dataset: gs.Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scored(dataset).table(**options)  # type: ignore[arg-type]


def test_a_pool_alone_has_no_groups(pooled: gs.Dataset) -> None:
    with pytest.raises(ValueError, match="there are no groups"):
        scored(pooled.select(generators=["real"])).table()


def test_intervals_are_seeded_and_as_wide_as_they_should_be(dataset: gs.Dataset) -> None:
    scores = scored(dataset)
    table = scores.table(bootstrap=400, seed=3)
    assert scores.table(bootstrap=400, seed=3).json() == table.json()
    assert scores.table(bootstrap=400, seed=4).json() != table.json()
    for row in (*table.rows, table.mean):
        for name, (low, high) in row["intervals"].items():
            assert low <= high, name
            assert low - 0.05 <= row[name] <= high + 0.05, name
    # The interval of a share: about 1.96 standard errors to each side.
    row = table.rows[0]
    error = np.sqrt(row["accuracy"] * (1 - row["accuracy"]) / row["count"])
    low, high = row["intervals"]["accuracy"]
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)
    low, high = table.mean["intervals"]["accuracy"]  # of three groups: narrower
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1 / np.sqrt(3), abs=0.2)
    assert " to " in table.markdown()
    assert "accuracy_low" in table.csv()


def test_forms_of_a_table(pooled: gs.Dataset, tmp_path: Path) -> None:
    table = scored(pooled).table()
    lines = table.markdown().splitlines()
    assert lines[0].startswith("| subset | count | accuracy | real accuracy |")
    assert lines[1].startswith("| --- | ---: |")
    assert lines[2].startswith("| adm | 16 |")
    assert lines[5].startswith("| mean | 40 |")
    assert f"| {NONE} |" in lines[3]
    assert str(table) == table._repr_markdown_() == table.markdown()
    for width in (40, 80, 300):
        shown = [line for line in table.text(width).splitlines() if line and line[0] != "N"]
        assert max(map(len, shown[:5])) <= width
        assert shown[0].split()[:2] == ["subset", "accuracy"]
        assert shown[4].split()[0] == "mean"
    assert "TPR at 10 % FPR" in shown[0]
    text = table.csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == text
    read = list(csv.DictReader(io.StringIO(text)))
    assert list(read[0]) == FIELDS
    assert float(read[0]["ap"]) == table.rows[0]["ap"]
    assert read[1]["ap"] == ""
    assert read[3]["group"] == "mean"
    assert json.loads(table.json(tmp_path / "table.json")) == json.loads((tmp_path / "table.json").read_text())
    found = json.loads(table.json())
    assert found["rows"] == table.rows
    assert (found["by"], found["reals"], found["missing"]) == (["subset"], "own", 0)
    with pytest.raises(OSError, match="nowhere"):
        table.csv(tmp_path / "nowhere" / "table.csv")
    for value in ("accuracy", "ap"):
        drawn = ET.fromstring(table.chart(value))
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        assert "adm" in "".join(drawn.itertext())
    with pytest.raises(ValueError, match="value='f1' is not one of"):
        table.chart("f1")


def test_a_matrix_of_models(dataset: gs.Dataset, pooled: gs.Dataset, tmp_path: Path) -> None:
    tables = {name: scored(dataset, seed).table() for seed, name in enumerate(("sd14", "adm"))}
    matrix = gs.matrix(tables)
    assert (matrix.trained, matrix.groups) == (("sd14", "adm"), ("adm", "biggan", "sd14"))
    assert matrix.values[0].tolist() == [row["accuracy"] for row in tables["sd14"].rows]
    assert np.allclose(matrix.means, [table.mean["accuracy"] for table in tables.values()], atol=1e-15)
    lines = matrix.markdown().splitlines()
    assert lines[0] == "| accuracy: trained on | adm | biggan | sd14 | mean |"
    assert lines[2].startswith(f"| sd14 | {100 * matrix.values[0, 0]:.2f} |")
    read = list(csv.DictReader(io.StringIO(matrix.csv(tmp_path / "m.csv"))))
    assert float(read[1]["biggan"]) == matrix.values[1, 1]
    assert json.loads(matrix.json())["means"] == matrix.means.tolist()
    assert ET.fromstring(matrix.chart()).tag.endswith("svg")
    assert gs.matrix(tables, "ap").values[1, 2] == tables["adm"].rows[2]["ap"]
    lacking = gs.matrix({"x": scored(pooled).table()}, "ap")
    assert np.isnan(lacking.values[0]).tolist() == [False, True, False]
    assert f"| {NONE} |" in lacking.markdown()
    assert "x: adm has no reals" in lacking.markdown()
    assert ET.fromstring(lacking.chart()) is not None
    other = scored(dataset.select(generators=["adm"])).table()
    with pytest.raises(ValueError, match="'b' has the groups adm, but 'a' has adm, biggan, sd14"):
        gs.matrix({"a": tables["adm"], "b": other})
    with pytest.raises(ValueError, match="reals='pooled'"):
        gs.matrix({"a": tables["adm"], "b": scored(dataset).table(reals="pooled")})
    with pytest.raises(ValueError, match="made of tables by name"):
        gs.matrix([tables["adm"]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one table"):
        gs.matrix({})
    with pytest.raises(ValueError, match="is not one of"):
        gs.matrix(tables, "f1")
