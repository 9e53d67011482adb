"""`genimage-stream bench`: that it measures what it says, its page in a browser, its refusals. Never how fast it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from genimage_stream import open_dataset, schema
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.bench import answer, loading, page_cache, reading
from genimage_stream.bench.memory import batches_bytes, obstacle
from genimage_stream.bench.options import BenchError, Options, default_threads, parse_threads
from genimage_stream.bench.page import render
from genimage_stream.bench.rate import Meter
from genimage_stream.bench.run import run
from genimage_stream.bench.verdict import judge
from genimage_stream.cli import app
from genimage_stream.remedies import sentence
from shard_tools.report.write import report
from tests.browser import assert_good_page, look
from tests.fixtures.genimage import make_tree
from tests.fixtures.s3 import s3_server

QUICK = ("--seconds", "0.2", "--crop", "32", "--batch-size", "8")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset in several shards. Not to be written to."""
    root = tmp_path_factory.mktemp("bench")
    make_tree(root / "tree", generators=("adm", "sd14"), count=10)
    command = [sys.executable, "-m", "shard_tools", "pack", root / "tree", root / "dst", "--shard-size", "40kB"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return root / "dst"


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genimage_stream", "bench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_here(*arguments: object) -> Result:
    """The command in this process, which spares importing torch every time."""
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


# -- the command -------------------------------------------------------------------------------------------------------


def test_json(packed: Path) -> None:
    done = bench(packed, "--json", "--threads", "1,2", "--output", "uint8", *QUICK)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["samples"] == 80
    assert set(facts["decode"]) == set(facts["end_to_end"]) == {"1", "2"}
    assert facts["verdict"]["bottleneck"] in ("storage", "decode", "other")
    assert facts["verdict"]["sentence"].count(".") == 1
    for rate in [*facts["decode"].values(), *facts["end_to_end"].values(), facts["storage"]["sequential"]]:
        assert 0 < rate["lowest"] <= rate["images_per_second"] <= rate["highest"]
        assert rate["bytes_per_second"] > 0
    assert facts["storage"]["random"]["images"] == facts["storage"]["cached"]["images"]
    assert facts["options"]["output"] == "uint8"
    assert facts["machine"]["cores"] == len(os.sched_getaffinity(0))


def test_lines_and_page(packed: Path, tmp_path: Path) -> None:
    done = run_here(packed, "--html", tmp_path / "out.html", "--threads", "1,2", *QUICK)
    assert done.exit_code == 0, done.stderr
    assert "end to end, 2 threads" in done.stdout
    assert "images/s end to end with" in done.stdout
    assert "an epoch of these 80 samples takes at least" in done.stdout
    assert f"bench: the page is {tmp_path / 'out.html'}" in done.stderr
    assert all(line.startswith("bench: ") for line in done.stderr.splitlines())
    with look(tmp_path / "out.html") as view:
        assert_good_page(view)
        assert len(view.accessible("image")) == 2
        assert "images/s end to end with" in view.evaluate("document.querySelector('header').textContent")


def test_the_answer_for_a_gpu() -> None:
    assert answer.sentence(2000.0, 324_000) == (
        "This machine feeds a model that trains at up to 2,000 images/s, all GPUs together; an epoch of these 324,000 "
        "samples takes at least 2.7 min."
    )
    assert [answer.duration(s) for s in (0, 0.42, 48, 130, 7200, 9000, 200_000)] == [
        "0 s", "0.42 s", "48 s", "2.2 min", "2 h", "2.5 h", "2.3 days",
    ]  # fmt: skip
    assert dict(answer.fed(1500.0)) == {
        "250 images/s": "6",
        "500 images/s": "3",
        "1,000 images/s": "1",
        "2,000 images/s": "none: one waits 25 % of the time",
        "4,000 images/s": "none: one waits 62 % of the time",
    }
    assert answer.epochs(1000.0, 50)[2] == ("all of GenImage, train and val", "2,681,167", "45 min")


def test_page_of_one_thread_and_a_hostile_name(packed: Path, tmp_path: Path) -> None:
    place = tmp_path / "<i>x&amp;"
    place.symlink_to(packed)
    results = run(str(place), Options(seconds=0.1, crop=16, batch_size=4, threads=(1,)))
    (tmp_path / "one.html").write_text(render(results), "utf-8")
    with look(tmp_path / "one.html") as view:
        assert_good_page(view)
        assert view.evaluate("document.querySelectorAll('i').length") == 0


def test_one_core(packed: Path) -> None:
    """Pinned to one core, one thread is measured, and it says so."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        results = run(str(packed), Options(seconds=0.1, crop=16, batch_size=4))
    finally:
        os.sched_setaffinity(0, cores)
    assert list(results.end_to_end) == [1]
    assert results.machine.cores == 1
    assert any("one core" in note for note in results.notes)


def test_one_core_and_more_threads(packed: Path) -> None:
    options = Options(seconds=0.1, crop=16, batch_size=4, threads=(1, 2))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        results = run(str(packed), options)
    finally:
        os.sched_setaffinity(0, cores)
    assert any("one core" in note for note in results.notes)
    assert not any("only one thread" in note for note in results.notes)


def test_no_gpu_is_no_matter(packed: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    results = run(str(packed), Options(seconds=0.1, crop=16, batch_size=4, threads=(1,), shuffle="shards"))
    assert results.machine.gpu is None
    assert results.first_batch_seconds > 0
    assert "cuda:0" in refused(packed, "--device", "cuda:0", *QUICK)


def test_a_transform(packed: Path) -> None:
    steps = T.to_json([T.RandomApply(T.JPEG((30, 90))), T.RandomCrop(16, pad="zeros")])
    done = run_here(packed, "--transform", steps, "--seconds", "0.1", "--batch-size", "4", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    assert f"transform {steps}, batches of 4" in done.stdout


def test_a_recipe_of_whole_images(packed: Path) -> None:
    done = run_here(packed, "--transform", "aeroblade:eval", "--seconds", "0.1", "--batch-size", "4", "--threads", "1")
    assert done.exit_code == 0, done.stderr


def test_read_only_dataset(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    for path in [*(tmp_path / "dst").rglob("*"), tmp_path / "dst"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted((tmp_path / "dst").rglob("*"))
    run(str(tmp_path / "dst"), Options(seconds=0.1, crop=16, batch_size=4, threads=(1,)))
    assert sorted((tmp_path / "dst").rglob("*")) == before


def test_a_selection(packed: Path) -> None:
    options = Options(seconds=0.1, crop=16, batch_size=4, threads=(1,), generators=("sd14",), splits=("val",))
    assert run(str(packed), options).samples == 20


def test_object_store(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pages from a real S3 server, addressed as a user does, by AWS's variables."""
    pytest.importorskip("obstore")
    (tmp_path / "server").mkdir()
    with s3_server(tmp_path / "server") as server:
        url = server.upload(packed, "dst")
        for name, value in server.options.items():
            monkeypatch.setenv(f"AWS_{name.upper()}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        results = run(url, Options(seconds=0.1, crop=16, batch_size=4, threads=(1,)))
        found = report(url, str(tmp_path / "report.html"), thumbnails=1)
    assert results.storage.random is not None
    assert results.storage.sequential is None
    assert any("object store" in note for note in results.notes)
    assert found["samples"] == 80
    assert found["unreadable_thumbnails"] == []


# -- bad input ---------------------------------------------------------------------------------------------------------


def refused(*arguments: object) -> str:
    """The one sentence with which the command ends."""
    done = run_here(*arguments)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("bench: ")]
    assert len(said) == 1
    assert said[0].startswith("genimage-stream: ")
    return said[0]


def test_nothing_there(tmp_path: Path) -> None:
    assert "there is no such folder" in refused(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "give the folder that `shard-tools pack` wrote" in refused(tmp_path / "empty"), "not: pack into it"
    refused("ftp://example.org/dst")


def test_unfinished(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    (tmp_path / "dst/index.parquet").unlink()
    assert "not finished" in refused(tmp_path / "dst")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--threads", "1,x"), "--threads"),
        (("--threads", "0"), "--threads"),
        (("--threads", ","), "--threads"),
        (("--crop", "0"), "--crop"),
        (("--crop", "9", "--transform", "cnnspot"), "omit one of the two"),
        (("--transform", "[3]"), "--transform: 3 is no step"),
        (("--transform", "univdf"), "--transform: there is no recipe 'univdf'; did you mean 'univfd'?"),
        (("--transform", "fatformer"), "--transform: the recipe 'fatformer' has no train transform"),
        (("--transform", '[{"JPEG": {"quality": 50}}]'), "add a crop"),
        (("--batch-size", "0"), "--batch-size"),
        (("--seconds", "0"), "--seconds"),
        (("--seconds", "nan"), "--seconds"),
        (("--output", "int8"), "--output"),
        (("--shuffle", "some"), "--shuffle"),
        (("--backend", "gpu"), "--backend"),
        (("--generators", "dalle"), "dalle"),
        (("--html", "/proc/bench.html"), "cannot be written"),
        (("--html", "/nowhere/bench.html"), "no folder"),
        (("--html", ""), "name a file"),
        (("--device", "foo"), "--device foo: write cpu"),
        (("--device", "cuda:99"), "--device cuda:99"),
    ],
)
def test_options_that_make_no_sense(packed: Path, options: tuple[str, ...], says: str) -> None:
    assert says in refused(packed, *options)


def test_a_killed_pack_is_not_finished(packed: Path, tmp_path: Path) -> None:
    """The same words as `shard-tools report`."""
    (tmp_path / schema.PLAN_FILE).parent.mkdir()
    (tmp_path / schema.PLAN_FILE).write_text("{}")
    said = refused(tmp_path)
    assert said == f"genimage-stream: {tmp_path} is not finished: run the same `shard-tools pack` again to go on"


def test_errors_of_the_system_get_a_remedy() -> None:
    assert "shard-tools verify" in sentence(FileNotFoundError(2, "No such file", "/dst/a.tar"))
    assert "/dst/index.parquet: permission denied" in sentence(PermissionError(13, "denied", "/dst/index.parquet"))
    assert "pip install 'genimage-stream[torch]'" in sentence(
        ModuleNotFoundError("import of torch halted", name="torch")
    )
    asked = "s3://b/dataset.json: Generic S3 error: Error performing PUT http://169.254.169.254/latest: 403"
    assert "s3://b/dataset.json: no credentials found: set AWS_ACCESS_KEY_ID" in sentence(OSError(asked))
    assert "no server responded" in sentence(OSError("http://x/dataset.json: HTTP error: error sending request"))
    assert sentence(ValueError("plain")) == "plain"


def test_error_as_json(tmp_path: Path) -> None:
    done = run_here(tmp_path / "nothing", "--json")
    assert done.exit_code == 2
    assert "no such folder" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize("how", ["missing", "short"])
def test_damaged_shard(packed: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    for shard in (tmp_path / "dst").rglob("*.tar"):
        if how == "missing":
            shard.unlink()
        else:
            shard.write_bytes(shard.read_bytes()[:1000])
    refused(tmp_path / "dst", *QUICK)


def test_images_that_do_not_decode_are_counted(packed: Path, tmp_path: Path) -> None:
    """One image is overwritten: it is left out, counted and told; when all are, nothing can be measured."""
    shutil.copytree(packed, tmp_path / "dst")
    dataset = open_dataset(tmp_path / "dst")
    codes, shards = dataset.access.shards()
    offsets, sizes = dataset.access.columns.numbers("offset", "size")

    def overwrite(rows: range) -> None:
        for row in rows:
            with open(tmp_path / "dst" / shards[codes[row]], "r+b") as file:
                file.seek(int(offsets[row]))
                file.write(bytes(int(sizes[row])))

    options = Options(seconds=0.1, crop=16, batch_size=4, threads=(1,))
    overwrite(range(1))
    results = run(str(tmp_path / "dst"), options)
    assert results.skipped > 0
    assert any("did not decode" in note for note in results.notes)


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_rate_is_the_median_of_slices() -> None:
    meter = Meter()
    for images in (10, 20, 30, 40, 500):
        meter.add(1.0, images, 1000)
    rate = meter.rate()
    assert rate is not None
    assert (rate.lowest, rate.images_per_second, rate.highest) == (10.0, 30.0, 500.0)
    assert rate.images == 600
    assert rate.bytes_per_second == 1000
    assert Meter().rate() is None
    one = Meter()
    one.add(2.0, 8, 16)
    assert one.rate() is not None
    assert one.rate().images_per_second == 4.0  # type: ignore[union-attr]


def test_memory_store_loads_the_same_pixels(packed: Path) -> None:
    from genimage_stream import Loader

    dataset = open_dataset(packed)
    memory = loading.in_memory(dataset, seed=0)
    assert len(memory) == len(dataset)
    options: dict[str, Any] = {"batch_size": 16, "crop": 24, "seed": 5, "rank": 0, "world_size": 1}
    for ours, theirs in zip(Loader(memory, **options), Loader(dataset, **options), strict=True):
        assert ours.keys == theirs.keys
        assert np.array_equal(ours.images.numpy(), theirs.images.numpy())


def test_memory_is_bounded(packed: Path) -> None:
    dataset = open_dataset(packed)
    assert len(loading.in_memory(dataset, seed=0, most_images=7)) == 7
    assert len(loading.in_memory(dataset, seed=0, most_bytes=1)) == 1


def test_a_forgotten_shard_leaves_the_page_cache(packed: Path) -> None:
    shard = next(packed.rglob("*.tar"))
    files = reading.LocalFiles([str(shard)])
    size = shard.stat().st_size
    files.read(0, 0, size)
    if files.is_cached(0, 0, size) is None:
        pytest.skip("this system does not tell what is in the page cache")
    assert files.is_cached(0, 0, size) is True
    files.write_back(0)
    files.forget(0)
    if files.is_cached(0, 0, size):
        pytest.skip("this file system keeps its files in memory")
    assert files.is_cached(0, 0, size) is False, "asking did not read it"
    files.close()
    with pytest.raises(OSError, match="too short"):
        files.read(0, size - 10, 20)
    files.close()


def test_asking_what_is_cached_changes_nothing(packed: Path) -> None:
    """An earlier way of asking had the kernel read what it asked for, and the bottleneck was named by it."""
    dataset = open_dataset(packed)
    for shard in dataset.access.shards()[1]:
        with open(packed / shard, "rb") as file:
            page_cache.write_back(file.fileno())
            page_cache.drop(file.fileno())
    shares = {reading.cached_share(dataset, seed=0) for _ in range(3)}
    if shares & {None, 1.0}:
        pytest.skip("the page cache cannot be emptied, or does not tell")
    assert shares == {0.0}
    for shard in dataset.access.shards()[1]:
        (packed / shard).read_bytes()
    assert reading.cached_share(dataset, seed=0) == 1.0


def test_a_file_of_somebody_else_is_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel calls every page of it resident."""
    (tmp_path / "file").write_bytes(bytes(10))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with open(tmp_path / "file", "rb") as file:
        assert page_cache.is_resident(file.fileno(), 0) is None


def test_samples_read_just_now_can_be_dropped(packed: Path, tmp_path: Path) -> None:
    """What was packed a moment ago waits in memory to be written, and must not pass for a disk."""
    shutil.copytree(packed, tmp_path / "dst")
    found = reading.measure_storage(open_dataset(tmp_path / "dst"), seconds=0.1, threads=1, seed=0)
    with open(tmp_path / "dst/dataset.json", "rb") as file:
        page_cache.write_back(file.fileno())
        page_cache.drop(file.fileno())
        emptied = page_cache.is_resident(file.fileno(), 0) is False
    assert any("could not be emptied" in note for note in found.notes) != emptied


def test_open_files_are_bounded(tmp_path: Path) -> None:
    paths = []
    for i in range(5):
        (tmp_path / str(i)).write_bytes(bytes([i] * 10))
        paths.append(str(tmp_path / str(i)))
    before = len(os.listdir("/proc/self/fd"))
    files = reading.LocalFiles(paths, open_files=2)
    for i in (0, 1, 2, 3, 4, 0):
        assert files.read(i, 0, 10) == 10
    assert len(os.listdir("/proc/self/fd")) - before == 2
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_verdicts() -> None:
    def said(storage: float, decode: float, end_to_end: float, **more: Any) -> Any:
        facts = {"threads": 2, "most": 2, "cores": 2, "crop_ready": False, "remote": False, **more}
        return judge(storage=storage, decode=decode, end_to_end=end_to_end, **facts)

    assert said(100, 1000, 90).bottleneck == "storage"
    assert said(100, 1000, 900).bottleneck == "decode"
    assert "cache_dir" in said(100, 1000, 90, remote=True).sentence
    assert said(9000, 1000, 900).bottleneck == "decode"
    assert said(9000, 1000, 300).bottleneck == "other"
    assert said(float("inf"), 1000, 900).bottleneck == "decode"
    assert "--crop-ready" in said(9000, 1000, 900).sentence
    assert "--crop-ready" not in said(9000, 1000, 900, crop_ready=True).sentence
    assert "within the spread" in said(9000, 1000, 1100, alike=True).sentence
    assert "slowed by other work" in said(9000, 1000, 1100).sentence
    assert "within the spread" not in said(9000, 1000, 900).sentence
    assert "storage alone" not in said(9000, 1000, 900, cached=1.0).sentence
    assert "more threads" in said(9000, 1000, 900, cores=8).sentence
    assert "within the spread" not in said(9000, 1000, 300, alike=True).sentence
    assert "2 threads were no faster" in said(9000, 1000, 900, threads=1, most=2, cores=2).sentence


def test_what_does_not_fit_into_memory_is_a_sentence(packed: Path) -> None:
    """The kernel once ended such a run without a word."""
    small = Options(batch_size=64, crop=224, threads=(1, 2))
    assert batches_bytes(small) == 2 * (4 + 4) * 64 * 3 * 224 * 224 * 4
    assert obstacle(small, 2, 8 << 30) is None
    assert obstacle(small, 2, None) is None
    assert "take 0.6 GB" in str(obstacle(small, 2, 500 << 20))
    assert "16 here" in str(obstacle(Options(threads=(1, 17)), 2, None))
    with pytest.raises(BenchError, match="--batch-size 1000000 and --crop 224"):
        run(str(packed), Options(batch_size=1_000_000, threads=(1,)))


def test_default_threads() -> None:
    assert default_threads(1) == (1,)
    assert default_threads(2) == (1, 2)
    assert default_threads(6) == (1, 2, 4, 6)
    assert default_threads(64) == (1, 2, 4, 8, 16, 32, 64)
    assert parse_threads("4,1, 2,2") == (1, 2, 4)
    with pytest.raises(BenchError):
        parse_threads("two")
