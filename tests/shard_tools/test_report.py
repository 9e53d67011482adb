"""`shard-tools report`: its figures against plain computations, its page in a real browser, its refusals."""

from __future__ import annotations

import base64
import html as unescape
import json
import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

import genimage_stream as gs
from genimage_stream import schema
from shard_tools.cli import app
from shard_tools.report import shortcuts, spectra, statistics
from shard_tools.report.features import FEATURES
from shard_tools.report.page import render
from shard_tools.report.sections import selections
from shard_tools.report.thumbnails import Thumbnail, middle
from shard_tools.report.write import findings, report
from tests.browser import assert_good_page, look
from tests.fixtures.genimage import bad_files, make_tree
from tests.shard_tools.conftest import shard_tools


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed tree with one broken file of each kind among the fakes of adm."""
    root = tmp_path_factory.mktemp("faulty")
    make_tree(root / "tree", generators=("adm", "midjourney"), count=10)
    for number, data in enumerate(bad_files().values()):
        folder = root / "tree/ADM/imagenet_ai_0508_adm/train/ai"
        (folder / f"{number}_adm_{900 + number}.PNG").write_bytes(data)
    done = shard_tools("pack", root / "tree", root / "shards <b>&", "--workers", 1)
    assert done.code == 0, done.err
    return root / "shards <b>&"


def words(page: str) -> str:
    """The page as plain text."""
    return re.sub(r"\s+", " ", unescape.unescape(re.sub(r"<[^>]*>", " ", page)))


# -- the command -------------------------------------------------------------------------------------------------------


def test_report_of_a_clean_dataset(packed: Path, tmp_path: Path) -> None:
    done = shard_tools("report", packed, "--html", tmp_path / "out.html", "--json")
    assert done.code == 0, done.err
    facts = done.json
    assert facts["samples"] == 8 * 2 * 12
    assert facts["real"] == facts["fake"] == 96
    assert facts["quarantined"] == 0
    by_name = {s["property"]: s for s in facts["shortcuts"]}
    assert by_name["File format"]["look_up"] == 1.0
    assert by_name["File format"]["rule"] == "fake: png; all else real"
    assert "0 fake JPEGs" in by_name["JPEG quality among the JPEGs"]["reason"]
    assert set(facts["shortcuts_by_generator"]) == {
        "adm", "biggan", "glide", "midjourney", "sd14", "sd15", "vqdm", "wukong",
    }  # fmt: skip
    text = words((tmp_path / "out.html").read_text("utf-8"))
    assert "192 of the 2,681,167 published images" in text
    assert "No file was quarantined" in text


def test_page_in_a_browser(packed: Path, tmp_path: Path) -> None:
    report(str(packed), str(tmp_path / "out.html"))
    with look(tmp_path / "out.html") as view:
        assert_good_page(view)
        assert view.evaluate("document.images.length") == 8 * 2 * 4
        view.resize(390)
        codes = "[...document.querySelectorAll('td .copy')]"
        assert view.evaluate(f"Math.max(...{codes}.map(c => c.getClientRects().length))") <= 3, "lines of a selection"
        assert "local" in view.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundAttachment")
        assert len(view.accessible("image")) >= 64 + 8


def test_page_of_a_faulty_dataset_in_a_browser(faulty: Path, tmp_path: Path) -> None:
    report(str(faulty), str(tmp_path / "out.html"), thumbnails=2)
    text = words((tmp_path / "out.html").read_text("utf-8"))
    assert "What is in shards <b>&" in text, "names are shown, not interpreted"
    assert "5 files were not packed" in text
    assert "Generators of GenImage that are not here: biggan, glide" in text
    with look(tmp_path / "out.html") as view:
        assert_good_page(view)
        assert view.evaluate("document.querySelectorAll('h1 b').length") == 0
        assert "0_adm_900.PNG" in view.evaluate("document.body.textContent")


def test_no_thumbnails(packed: Path, tmp_path: Path) -> None:
    report(str(packed), str(tmp_path / "out.html"), thumbnails=0)
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "<img" not in page
    assert "No thumbnails were asked for" in page


def test_same_dataset_same_page(packed: Path, tmp_path: Path) -> None:
    for name in "ab":
        report(str(packed), str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_shard_is_told_and_the_page_still_comes(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    shard = next((tmp_path / "dst/adm/train").glob("*.tar"))
    shard.write_bytes(bytes(len(shard.read_bytes()) // 2))
    found = report(str(tmp_path / "dst"), str(tmp_path / "out.html"))
    assert found["unreadable_thumbnails"]
    assert "unreadable" in (tmp_path / "out.html").read_text("utf-8")


def test_lists_and_figures_have_names(packed: Path, tmp_path: Path) -> None:
    report(str(packed), str(tmp_path / "out.html"))
    page = (tmp_path / "out.html").read_text("utf-8")
    assert all(' aria-label="' in tag for tag in re.findall(r"<figure[^>]*>", page))
    names = re.findall(r'<ul class="sheet" aria-labelledby="([^"]+)">', page)
    assert names
    assert len(set(names)) == len(names)
    assert all(f' id="{name}">' in page for name in names)


def test_a_click_enlarges_a_picture(packed: Path, tmp_path: Path) -> None:
    report(str(packed), str(tmp_path / "out.html"))
    with look(tmp_path / "out.html") as view:
        view.resize(1280)
        first = "document.querySelector('.sheet li')"
        assert view.evaluate(f"{first}.querySelector('img').getBoundingClientRect().width") == 128
        view.evaluate(f"{first}.querySelector('a').click()")
        assert view.evaluate(f"getComputedStyle({first}).position") == "fixed"
        assert view.evaluate(f"{first}.querySelector('img').getBoundingClientRect().width") > 400
        assert view.evaluate(f"getComputedStyle({first}.querySelector('code')).userSelect") == "all"
        view.evaluate(f"{first}.querySelector('.more a').click()")
        assert view.evaluate(f"getComputedStyle({first}).position") != "fixed"


def test_reals_and_fakes_of_one_class_in_native_resolution(packed: Path) -> None:
    sheet = findings(str(packed), thumbnails=3).thumbnails
    pairs: dict[tuple[str, int], list[Thumbnail]] = defaultdict(list)
    for one in sheet:
        pairs[one.generator, one.pair].append(one)
    assert len(pairs) == 8 * 3
    assert all({one.label for one in pair} == {"real", "fake"} for pair in pairs.values())
    assert all(len({one.class_index for one in pair}) == 1 for pair in pairs.values())
    assert min(one.class_index for one in sheet) >= 0
    rows = {row["key"]: row for row in gs.open_dataset(packed).table(["key", "shard", "offset", "size"]).to_pylist()}
    for one in sheet[:6]:
        row = rows[one.key]
        with open(packed / row["shard"], "rb") as file:
            file.seek(row["offset"])
            whole = gs.decode(file.read(row["size"]))
        assert np.array_equal(gs.decode(base64.b64decode(one.address.partition(",")[2])), middle(whole, 192))


def test_middle_of_an_image() -> None:
    pixels = np.arange(7 * 4 * 3, dtype=np.uint8).reshape(7, 4, 3)
    assert np.array_equal(middle(pixels, 5), pixels[1:6])
    assert np.array_equal(middle(pixels, 2), pixels[2:4, 1:3])


def test_selections_leave_what_they_say(packed: Path) -> None:
    found = findings(str(packed), thumbnails=0)
    page = words(selections.section(found).render())
    dataset = gs.open_dataset(packed)
    code = re.findall(r"(dataset\.select\([^)]*(?:\([^)]*\)[^)]*)*\)) (\d+) (\d+)", page)
    assert len(code) >= 16
    for line, reals, fakes in code:
        chosen = eval(line, {"dataset": dataset})  # what a reader copies
        labels = chosen.table(["label"])["label"].to_pylist()
        assert (labels.count("real"), labels.count("fake")) == (int(reals), int(fakes)), line


def test_spectra_show_a_period_of_eight_pixels(tmp_path: Path) -> None:
    """Fakes with a grid of that period, packed and read back, have their brightest points at multiples of 1/8."""
    rng = np.random.default_rng(5)
    for label in ("ai", "nature"):
        folder = tmp_path / "tree/adm/train" / label
        folder.mkdir(parents=True)
        for number in range(6):
            pixels = rng.normal(128, 12, (150, 170, 1)).repeat(3, axis=2)
            if label == "ai":
                pixels += 12 * (np.arange(170) % 8 == 0)[None, :, None]
            Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(folder / f"{number}_adm_{number}.png")
    assert shard_tools("pack", tmp_path / "tree", tmp_path / "shards").code == 0
    real, fake = findings(str(tmp_path / "shards"), thumbnails=0, images=4).spectra
    assert (real.label, fake.label) == ("real", "fake")
    assert (real.images, fake.images) == (4, 4)
    bright = np.argsort((fake.residual - real.residual).ravel())[-6:]
    y, x = np.unravel_index(bright, fake.residual.shape)
    assert set(y.tolist()) <= {63, 64, 65}
    assert {round(abs(place - 64) / 16) * 16 - abs(place - 64) for place in x.tolist()} <= {-1, 0, 1}
    report(str(tmp_path / "shards"), str(tmp_path / "out.html"), images=4)
    with look(tmp_path / "out.html") as view:
        assert_good_page(view)
        assert sum("residual spectrum" in name for name in view.accessible("image")) == 2


def test_spectra_are_those_of_a_plain_computation() -> None:
    windows = np.random.default_rng(1).random((3, 16, 16)).astype(np.float32)
    log_mean, rest = spectra.of_windows(windows)
    hann = np.hanning(16)[:, None] * np.hanning(16)
    logs, powers = [], []
    for window in windows:
        transformed = np.fft.fftshift(np.fft.fft2((window - window.mean()) * hann))
        logs.append(np.log(np.abs(transformed) ** 2 + 1))
        around = ndimage.uniform_filter(window.astype(np.float64), 3, mode="nearest")
        powers.append(np.abs(np.fft.fftshift(np.fft.fft2((window - around) * hann))) ** 2)
    np.testing.assert_allclose(log_mean, np.mean(logs, axis=0), atol=1e-4)
    np.testing.assert_allclose(rest, np.log(np.mean(powers, axis=0) + 1e-3), atol=1e-3)


def test_missing_shards_are_told_beside_the_headline(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    for shard in (tmp_path / "dst").rglob("*.tar"):
        shard.unlink()
    arguments = ["report", str(tmp_path / "dst"), "--html", str(tmp_path / "out.html")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "shards cannot be read" in done.stderr
    assert "shard-tools verify" in done.stderr
    assert "shards cannot be read" in CliRunner().invoke(app, [*arguments, "--thumbnails", "0"]).stderr


# -- bad input ---------------------------------------------------------------------------------------------------------


def refused(*arguments: object) -> str:
    """The one sentence with which the command ends."""
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("shard-tools: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_no_dataset(tmp_path: Path) -> None:
    assert "there is no such folder" in refused(tmp_path / "nothing", "--html", tmp_path / "o.html")
    (tmp_path / "empty").mkdir()
    assert "holds no dataset" in refused(tmp_path / "empty", "--html", tmp_path / "o.html")
    assert not (tmp_path / "o.html").exists()


def test_unfinished_dataset(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    (tmp_path / "dst" / schema.DATASET_FILE).unlink()
    (tmp_path / "dst/.pack").mkdir()
    (tmp_path / "dst/.pack/plan.json").write_text("{}")
    assert "not finished" in refused(tmp_path / "dst", "--html", tmp_path / "o.html")


@pytest.mark.parametrize("name", [schema.INDEX_FILE, schema.QUARANTINE_FILE])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_damaged_tables(packed: Path, tmp_path: Path, name: str, how: str) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    (tmp_path / "dst" / name).unlink()
    if how == "damaged":
        (tmp_path / "dst" / name).write_bytes(b"PAR1 no table PAR1")
    said = refused(tmp_path / "dst", "--html", tmp_path / "o.html")
    assert name in said or "not finished" in said


def test_page_cannot_be_written(packed: Path, tmp_path: Path) -> None:
    assert "no folder" in refused(packed, "--html", tmp_path / "none/o.html")
    assert "is a folder" in refused(packed, "--html", tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "write elsewhere" in refused(packed, "--html", tmp_path / "locked/o.html")


def test_read_only_place(packed: Path) -> None:
    """/proc takes no files, from root neither."""
    assert "cannot be written" in refused(packed, "--html", "/proc/o.html")


# -- the figures -------------------------------------------------------------------------------------------------------


def make_dataset(root: Path, columns: dict[str, object], count: int) -> Path:
    """A dataset of an index alone: what is not given is filled in."""
    root.mkdir()
    plain: dict[str, object] = {
        "key": [f"k{i}" for i in range(count)],
        "generator": ["sd14"] * count,
        "split": ["train"] * count,
        "shard": ["sd14/train/sd14-train-00000.tar"] * count,
        "offset": [512] * count,
        "size": [1000] * count,
        "format": ["png"] * count,
        "mode": ["RGB"] * count,
        "width": [64] * count,
        "height": [64] * count,
        "jpeg_quality": [None] * count,
        "class_index": [None] * count,
        "synset": [None] * count,
        "chroma": [None] * count,
        "progressive": [None] * count,
        "sha256": ["0" * 64] * count,
        "source": ["x"] * count,
    } | columns
    table = pa.table({field.name: pa.array(plain[field.name]).cast(field.type) for field in schema.index_schema()})
    pq.write_table(table, root / schema.INDEX_FILE)
    pq.write_table(schema.quarantine_schema().empty_table(), root / schema.QUARANTINE_FILE)
    counts = {"samples": len(table), "quarantined": 0, "shards": 0, "size": 0, "groups": []}
    dataset = {"format_version": schema.FORMAT_VERSION, "seed": 0, "options": {}, "plan_digest": "", "counts": counts}
    (root / schema.DATASET_FILE).write_text(json.dumps({**dataset, "shards": []}))
    return root


def found_in(root: Path) -> dict[str, shortcuts.Shortcut]:
    return {s.feature.name: s for s in findings(str(root), thumbnails=0).shortcuts}


def test_auc_is_that_of_scikit_learn(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    fake = rng.random(3000) < 0.3
    width = (rng.normal(400, 60, 3000) + 50 * fake).astype(int)
    labels = np.where(fake, "fake", "real").tolist()
    found = found_in(make_dataset(tmp_path / "d", {"label": labels, "width": width.tolist()}, 3000))
    assert found["Width"].auc == pytest.approx(metrics.roc_auc_score(fake, width), abs=1e-12)
    assert found["Height"].auc == pytest.approx(0.5)


def test_best_threshold_is_that_of_a_plain_search() -> None:
    rng = np.random.default_rng(4)
    for trial in range(20):
        fake = rng.random(400) < 0.5
        values = rng.integers(0, 40, 400) + fake * int(rng.integers(-15, 15))
        half = np.arange(400, dtype=np.int8) & 1
        distinct, codes = np.unique(values, return_inverse=True)
        places, counts = shortcuts.count_values(codes, len(distinct), fake, half)
        _, place, above = shortcuts.best_threshold(counts)
        plain = []
        for v in np.unique(values):
            right = np.mean(values[fake] > v) + np.mean(values[~fake] <= v)
            plain.append(max(right, 2 - right))
        v = distinct[places[place]]
        mine = np.mean((values > v)[fake] == above) + np.mean((values > v)[~fake] != above)
        assert mine == pytest.approx(max(plain)), trial


def test_codes_of_near_and_far_values(tmp_path: Path) -> None:
    """Small ranges are counted, large ones sorted: the same either way."""
    columns = {"label": ["real", "fake"] * 5, "width": [3, 7, 3, 9, 9, 9, 4, 3, 3, 7], "size": [5, 10**9] * 5}
    samples = findings(str(make_dataset(tmp_path / "d", columns, 10)), thumbnails=0).samples
    by_name = {feature.name: feature for feature in FEATURES}
    for name, values in (("Width", samples.width), ("File size", samples.size_bytes)):
        coded = shortcuts.code(samples, by_name[name])
        assert np.array_equal(coded.distinct[coded.codes], values)
        places, counts = shortcuts.count_values(coded.codes, len(coded.distinct), samples.fake, samples.half)
        assert np.array_equal(coded.distinct[places], np.unique(values))
        assert counts.sum() == 10
        assert counts[1].sum() == 5


def test_halves_are_even_and_always_the_same(packed: Path) -> None:
    one, other = (findings(str(packed), thumbnails=0).samples for _ in range(2))
    assert np.array_equal(one.half, other.half)
    for generator in one.generators:
        for fake in (False, True):
            rows = one.of(generator) & (one.fake == fake)
            assert rows.sum() == 2 * one.half[rows].sum()


def test_what_tells_nothing_scores_as_chance(tmp_path: Path) -> None:
    """Values that occur once would look perfect to a look-up that is scored on what it was made from."""
    rng = np.random.default_rng(6)
    count = 4000
    columns = {
        "label": np.where(rng.random(count) < 0.2, "fake", "real").tolist(),
        "size": (1 + rng.permutation(count * 7)[:count]).tolist(),
        "width": (1 + rng.permutation(count)[:count]).tolist(),
    }
    found = found_in(make_dataset(tmp_path / "d", columns, count))
    for name in ("File size", "Width", "Exact size", "Bytes per pixel"):
        assert 0.46 < found[name].best < 0.54, name
    assert found["Colour mode"].look_up == pytest.approx(0.5)


def test_a_size_between_others_needs_the_look_up(tmp_path: Path) -> None:
    labels = ["real", "fake", "real", "fake"] * 50
    widths = [300, 512, 700, 512] * 50
    found = found_in(make_dataset(tmp_path / "d", {"label": labels, "width": widths}, 200))
    assert found["Width"].threshold == pytest.approx(0.75, abs=0.08)
    assert found["Width"].look_up == 1.0
    assert found["Width"].rule == "fake: 512; all else real"


def test_sizes_not_seen_before_are_the_cameras(tmp_path: Path) -> None:
    """Fakes have one size, each real its own: a new size is a real, though the table does not have it."""
    count = 400
    labels = ["real", "fake"] * (count // 2)
    widths = [512 if label == "fake" else 1000 + i for i, label in enumerate(labels)]
    found = found_in(make_dataset(tmp_path / "d", {"label": labels, "width": widths}, count))
    assert found["Exact size"].look_up == 1.0
    assert found["Exact size"].auc == 1.0


def test_threshold_in_words(tmp_path: Path) -> None:
    labels = ["real", "fake"] * 40
    found = found_in(make_dataset(tmp_path / "d", {"label": labels, "width": [900, 512] * 40}, 80))
    assert found["Width"].rule == "fake up to 512 pixels, real above"


def test_quality_among_jpegs(tmp_path: Path) -> None:
    """Where both labels have JPEGs, the quality counts by itself, without those that have none."""
    count = 120
    columns = {
        "label": ["real", "fake", "fake"] * 40,
        "format": ["jpeg", "jpeg", "png"] * 40,
        "jpeg_quality": [96, 75, None] * 40,
    }
    found = found_in(make_dataset(tmp_path / "d", columns, count))
    assert found["JPEG quality among the JPEGs"].threshold == 1.0
    assert found["JPEG quality or none"].look_up == 1.0
    assert found["File format"].look_up == pytest.approx(0.75)


def test_one_label_alone(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", {"label": ["fake"] * 10}, 10)
    found = report(str(root), str(tmp_path / "out.html"), thumbnails=0)
    assert all("too few" in s["reason"] for s in found["shortcuts"])
    assert "cannot be compared" in found["headline"]


def test_generators_without_reals_use_the_pool(tmp_path: Path) -> None:
    columns = {
        "label": ["real"] * 20 + ["fake"] * 20,
        "generator": ["real"] * 20 + ["flux"] * 20,
        "width": [500] * 20 + [1024] * 20,
    }
    found = findings(str(make_dataset(tmp_path / "d", columns, 40)), thumbnails=0)
    assert found.borrowed_reals == ["flux"]
    assert list(found.by_generator) == ["flux"]
    assert found.parts[0].published is None


def test_composition_counts_what_is_missing(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", {"label": ["fake"] * 7}, 7)
    rows = [{"source": "a", "generator": "sd14", "split": "train", "label": "fake", "reason": "empty"}] * 3
    pq.write_table(pa.Table.from_pylist(rows, schema.quarantine_schema()), root / schema.QUARANTINE_FILE)
    train, val = findings(str(root), thumbnails=0).parts
    assert train.packed == (0, 7)
    assert train.quarantined == (0, 3)
    assert train.missing == 162_000 + 162_000 - 10
    assert val.missing == 12_000


def test_size_map_holds_every_image(tmp_path: Path) -> None:
    columns = {"label": ["real"] * 4, "width": [1, 64, 5000, 64], "height": [1, 128, 30, 128]}
    samples = findings(str(make_dataset(tmp_path / "d", columns, 4)), thumbnails=0).samples
    edges = statistics.size_edges(samples)
    assert statistics.size_map(samples, ~samples.fake, edges).sum() == 4
    assert statistics.common_sizes(samples, ~samples.fake, 1) == ([(64, 128, 2)], 3)


def test_pictures_of_a_few_of_many_generators(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shard_tools.report import thumbnails

    monkeypatch.setattr(thumbnails, "MANY", 1)
    monkeypatch.setattr(thumbnails, "FEW", 1)
    found = findings(str(packed), thumbnails=4, images=2)
    first = found.samples.generators[0]
    assert {(one.generator, one.label) for one in found.thumbnails} == {(first, "real"), (first, "fake")}
    assert len(found.thumbnails) == 2
    assert {one.generator for one in found.spectra} <= {first}
    many = len(found.samples.generators)
    assert f"Of 1 of the {many} generators, evenly spread" in render(found)


def test_long_tables_and_charts_say_how_long_they_are() -> None:
    from genimage_stream.page import charts, html

    table = html.table("Rows", ("A", "B"), [(f"row{i}", i) for i in range(4800)])
    assert table.count("<tr") == html.MOST_ROWS + 1
    assert "the first 400 of 4,800 rows" in table
    chart = charts.bars("Bars", "Of many.", [(f"bar{i}", [1.0]) for i in range(4800)], ["third"])
    assert "and 4,600 more" in chart
    assert "bar4799" not in chart
