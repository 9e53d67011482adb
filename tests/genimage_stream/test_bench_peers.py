"""`genimage-stream bench --peers`: other loaders take their turns and do the same work. Never how fast they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from genimage_stream import open_dataset
from genimage_stream.bench.memory import batches_bytes
from genimage_stream.bench.options import BenchError, Options
from genimage_stream.bench.peers import league, pixels, serve, streams
from genimage_stream.bench.peers.work import Work
from genimage_stream.cli import app
from genimage_stream.storage.local import LocalStore
from tests.browser import assert_good_page, look
from tests.fixtures.genimage import make_tree

QUICK = Options(seconds=0.1, crop=32, batch_size=8, threads=(1,), peers=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset. Not to be written to."""
    root = tmp_path_factory.mktemp("peers")
    make_tree(root / "tree", generators=("adm", "sd14"), count=4)
    command = [sys.executable, "-m", "shard_tools", "pack", str(root / "tree"), str(root / "dst")]
    subprocess.run(command, check=True, capture_output=True)
    return root / "dst"


def bench(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_league(packed: Path, tmp_path: Path) -> None:
    options = ("--peers", "--seconds", "0.1", "--crop", "32", "--batch-size", "8", "--threads", "1", "--json")
    code, out, err = bench(packed, *options, "--generators", "adm", "--html", tmp_path / "page.html")
    assert code == 0, err
    found = json.loads(out)["peers"]
    by_title = {one["title"]: one for one in found["standings"]}
    possible = {entry.title for entry in league.entries()[0]}
    assert set(by_title) == {league.OURS, *possible}
    assert by_title[league.OURS]["ours_times"] == {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    rates = [one["images_per_second"] for one in found["standings"]]
    assert rates == sorted(rates, reverse=True)
    for one in found["standings"]:
        assert 0 < one["lowest"] <= one["images_per_second"] <= one["highest"]
        assert one["versions"]["torch"]
    assert found["sentence"].startswith("genimage-stream is ")
    with look(tmp_path / "page.html") as view:
        assert_good_page(view)
        assert "the fastest of the others here" in view.evaluate("document.body.textContent")


def test_a_loader_that_fails_is_listed_with_its_reason(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are measured. This project's loader leaves images out that do not decode; these do not."""
    pytest.importorskip("webdataset", reason="webdataset is not installed: scripts/setup.sh --tests")
    shutil.copytree(packed, tmp_path / "dst")
    dataset = open_dataset(tmp_path / "dst")
    codes, shards = dataset.access.shards()
    offsets, sizes = dataset.access.columns.numbers("offset", "size")
    for row in range(0, len(dataset), 2):
        with (tmp_path / "dst" / shards[codes[row]]).open("r+b") as file:
            file.seek(int(offsets[row]))
            file.write(bytes(int(sizes[row])))
    one = league.Entry("webdataset_pillow", "webdataset + Pillow", ("webdataset", "PIL"))
    monkeypatch.setattr(league, "entries", lambda: ([one], {}))
    found = league.measure(dataset, str(tmp_path / "dst"), QUICK, lambda line: None)
    assert [standing.title for standing in found.standings] == [league.OURS]
    assert "UnidentifiedImageError" in found.left_out["webdataset + Pillow"]
    assert found.sentence == "No other loader could be measured here."


@pytest.mark.parametrize(
    ("there", "titles", "missing"),
    [
        (
            {"PIL", "webdataset", "simplejpeg", "kornia_rs"},
            ["DataLoader + simplejpeg, kornia-rs", "webdataset + simplejpeg, kornia-rs", "webdataset + Pillow"],
            {},
        ),
        (
            {"PIL", "simplejpeg"},
            ["DataLoader + simplejpeg", "DataLoader + Pillow"],
            {
                "kornia-rs": "`pip install kornia-rs`",
                "webdataset + simplejpeg": "`pip install webdataset`",
                "webdataset + Pillow": "`pip install webdataset`",
            },
        ),
        (
            set(),
            [],
            {
                "DataLoader + simplejpeg, kornia-rs": "`pip install simplejpeg kornia-rs pillow`",
                "webdataset + simplejpeg, kornia-rs": "`pip install webdataset simplejpeg kornia-rs pillow`",
                "webdataset + Pillow": "`pip install webdataset pillow`",
                "DataLoader + Pillow": "`pip install pillow`",
            },
        ),
    ],
)
def test_what_is_not_installed_is_named_with_the_line_for_pip(
    there: set[str], titles: list[str], missing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(league, "installed", lambda module: module in there)
    found, left_out = league.entries()
    assert [one.title for one in found] == titles
    assert set(left_out) == set(missing)
    assert all(line in left_out[title] for title, line in missing.items())
    assert league.steps() == (1 + len(titles)) * (1 + league.TURNS)


@pytest.mark.parametrize(
    "given",
    [
        ("--transform", "cnnspot"),
        ("--shuffle", "shards"),
        ("--shuffle", "none"),
        ("--backend", "dali"),
        ("--device", "cuda:0"),
    ],
)
def test_options_that_the_others_do_not_have(packed: Path, given: tuple[str, str]) -> None:
    code, out, err = bench(packed, "--peers", *given)
    assert (code, out) == (2, "")
    assert f"--peers beside {given[0]}: " in err
    assert len(err.splitlines()) == 1


def test_shards_that_are_not_on_a_disk(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(packed)
    monkeypatch.setattr(LocalStore, "local_path", lambda self, path: None)
    with pytest.raises(BenchError, match="read shards on a local disk: copy them to one, or omit --peers"):
        league.measure(dataset, str(packed), QUICK, lambda line: None)


def test_every_sample_is_read_from_its_range_again_and_again(packed: Path) -> None:
    access = open_dataset(packed).access
    codes, names = access.shards()
    labels = access.targets()[0]
    files = [str(packed / name) for name in names]
    ranges = streams.Ranges(files, (codes, *access.columns.numbers("offset", "size"), labels), bytes)
    for row in range(len(ranges)):
        assert ranges[row] == (access.read(row), labels[row])
    order = iter(streams.Endless(5, seed=0))
    assert [sorted(next(order) for _ in range(5)) for _ in range(3)] == [[0, 1, 2, 3, 4]] * 3


def test_all_decoders_give_pictures_of_the_same_pixels(packed: Path) -> None:
    """Where one is not installed, or does not know the form of a file, Pillow decodes."""
    access = open_dataset(packed).access
    for row in range(0, access.columns.num_rows, 3):
        data = access.read(row)
        assert np.array_equal(pixels.fastest(data, parts=()), pixels.pillow(data))
        if all(map(league.installed, league.PARTS)):
            assert np.array_equal(pixels.fastest(data), pixels.pillow(data))


@pytest.mark.parametrize(("output", "dtype"), [("uint8", torch.uint8), ("float16", torch.float16)])
def test_batches_of_other_types(output: str, dtype: torch.dtype) -> None:
    images, labels = pixels.collate([(torch.zeros(3, 4, 4, dtype=torch.uint8), 1)] * 2, output)
    assert (images.dtype, images.shape, labels.tolist()) == (dtype, (2, 3, 4, 4), [1, 1])


def test_a_batch_that_is_not_the_work_is_an_error(tmp_path: Path) -> None:
    work = Work("", None, ("val",), ("a.tar",), "", 4, 2, 1, "float32", 0)
    work.save(tmp_path / "work.json")
    assert Work.load(tmp_path / "work.json") == work

    def stream(batch: Any) -> serve.Stream:
        return serve.Stream(iter([batch] * 10), ahead=2, together=3)

    images, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2)
    assert serve.turn(stream((images, labels)), work, 0.0)["images"] == 2 * 3, "whole rounds of the workers"
    with pytest.raises(ValueError, match="uint8 with 2 labels is not what was asked for"):
        serve.turn(stream((images.to(torch.uint8), labels)), work, 0.0)
    with pytest.raises(ValueError, match="is not what was asked for"):
        serve.turn(stream((images[:, :, :3], labels)), work, 0.0)


def test_their_batches_count_as_memory() -> None:
    assert batches_bytes(Options(peers=True)) > batches_bytes(Options())
