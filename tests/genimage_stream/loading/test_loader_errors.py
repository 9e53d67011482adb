"""Damaged samples, damaged storage, and ways to end early: named, bounded, clean."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import genimage_stream as gs
from tests.fixtures.shards import Sample, make_dataset, make_samples, write_dataset

CROP = 16


def damaged(sample: Sample) -> Sample:
    """The same sample with the second half of its bytes overwritten."""
    half = len(sample.data) // 2
    return replace(sample, data=sample.data[:half] + bytes(len(sample.data) - half))


@pytest.fixture
def with_damage(tmp_path: Path) -> tuple[gs.Dataset, set[str]]:
    samples = make_samples(6)
    bad = {5, 22, 23, 60}
    samples = [damaged(sample) if i in bad else sample for i, sample in enumerate(samples)]
    return gs.open_dataset(write_dataset(tmp_path, samples)), {samples[i].key for i in bad}


def test_raise_names_sample_shard_and_place(with_damage: tuple[gs.Dataset, set[str]]) -> None:
    dataset, bad = with_damage
    with pytest.raises(gs.DecodeError) as error:
        list(gs.Loader(dataset, 8, crop=CROP))
    text = str(error.value)
    assert any(repr(key) in text for key in bad)
    assert dataset.path in text
    assert ".tar" in text
    assert "bytes at" in text
    assert 'on_error="skip"' in text


def test_skip_leaves_out_just_those(with_damage: tuple[gs.Dataset, set[str]], caplog: pytest.LogCaptureFixture) -> None:
    dataset, bad = with_damage
    loader = gs.Loader(dataset, 8, crop=CROP, on_error="skip", seed=2)
    labels = dict(zip(dataset.table()["key"].to_pylist(), dataset.table()["label"].to_pylist(), strict=True))
    good = gs.Loader(dataset, 1, crop=CROP, on_error="skip", seed=2)
    alone = {batch.keys[0]: batch.images[0] for batch in good if len(batch)}
    caplog.clear()
    with caplog.at_level(logging.WARNING, "genimage_stream"):
        for epoch in range(2):
            batches = list(loader)
            assert len(batches) == len(loader)
            keys = [key for batch in batches for key in batch.keys]
            assert sorted(keys) == sorted(set(labels) - bad)
            for batch in batches:
                assert len(batch) == len(batch.images) == len(batch.keys) == len(batch.rows) == len(batch.generators)
                assert [labels[key] == "fake" for key in batch.keys] == batch.labels.tolist()
                if epoch == 0:
                    assert all((alone[k] == image).all() for k, image in zip(batch.keys, batch.images, strict=True))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(bad)  # once each, not once an epoch
    assert all(any(key in message for message in messages) for key in bad)
    assert loader.stats().skipped == 2 * len(bad)


def test_skip_gives_up_past_its_limit(with_damage: tuple[gs.Dataset, set[str]]) -> None:
    dataset, _ = with_damage
    with pytest.raises(gs.DecodeError, match="max_errors=3"):
        list(gs.Loader(dataset, 8, crop=CROP, on_error="skip", max_errors=3))
    assert len(list(gs.Loader(dataset, 8, crop=CROP, on_error="skip", max_errors=4))) == 9


def test_skip_has_given_up_for_good(with_damage: tuple[gs.Dataset, set[str]]) -> None:
    """Iterated again, a loader once met no new sample, and went on past its limit."""
    loader = gs.Loader(with_damage[0], 8, crop=CROP, on_error="skip", max_errors=3)
    for _ in range(2):
        with pytest.raises(gs.DecodeError, match="max_errors=3"):
            list(loader)
        loader.set_epoch(0)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_vanished_shard_is_named(tmp_path: Path, on_error: str) -> None:
    dataset = gs.open_dataset(make_dataset(tmp_path))
    gone = sorted(tmp_path.rglob("*.tar"))[3]
    gone.unlink()
    with pytest.raises(OSError, match=gone.name):
        list(gs.Loader(dataset, 8, crop=CROP, on_error=on_error))  # type: ignore[arg-type]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_truncated_shard_is_named(tmp_path: Path, on_error: str) -> None:
    dataset = gs.open_dataset(make_dataset(tmp_path))
    cut = sorted(tmp_path.rglob("*.tar"))[2]
    os.truncate(cut, cut.stat().st_size // 2)
    with pytest.raises(OSError, match=cut.name) as error:
        list(gs.Loader(dataset, 8, crop=CROP, on_error=on_error))  # type: ignore[arg-type]
    assert "verify" in str(error.value)


def test_after_an_error_the_next_epoch_works(tmp_path: Path) -> None:
    dataset = gs.open_dataset(make_dataset(tmp_path))
    shard = sorted(tmp_path.rglob("*.tar"))[0]
    away = shard.rename(tmp_path / "away")
    loader = gs.Loader(dataset, 8, crop=CROP)
    with pytest.raises(OSError, match=shard.name):
        list(loader)
    state = loader.state_dict()
    assert state["epoch"] == 0
    away.rename(shard)
    before = state["position"]
    loader.load_state_dict(state)
    assert sum(len(batch) for batch in loader) == len(dataset) - before


# -- ending ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path))


def fail_at_the_first(loader: gs.Loader) -> None:
    for batch in loader:
        raise KeyError(len(batch))


def test_break_exception_and_dropping(dataset: gs.Dataset) -> None:
    before = threading.active_count()
    for _ in range(20):
        loader = gs.Loader(dataset, 4, crop=CROP, threads=3, prefetch=8)
        for batch in loader:
            assert len(batch) == 4
            break
        with pytest.raises(KeyError):
            fail_at_the_first(loader)
        running = iter(loader)
        next(running)
        del loader
        next(running)
    assert threading.active_count() <= before  # no Python threads at all; those of earlier tests may end meanwhile


def test_an_epoch_can_be_closed(dataset: gs.Dataset) -> None:
    running = iter(gs.Loader(dataset, 4, crop=CROP))
    next(running)
    running.close()
    with pytest.raises(StopIteration):
        next(running)
    running.close()


def test_two_loaders_at_once(dataset: gs.Dataset) -> None:
    one = gs.Loader(dataset.select(splits=["train"]), 8, crop=CROP, seed=1)
    two = gs.Loader(dataset.select(splits=["val"]), 8, crop=CROP, seed=1, output="float32")
    pairs = list(zip(one, two, strict=True))
    assert [a.keys for a, _ in pairs] == [batch.keys for batch in gs.Loader(one.dataset, 8, crop=CROP, seed=1)]
    assert [b.keys for _, b in pairs] == [batch.keys for batch in gs.Loader(two.dataset, 8, crop=CROP, seed=1)]


def test_two_epochs_of_one_loader_at_once(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 8, crop=CROP)
    straight = gs.Loader(dataset, 8, crop=CROP)
    first, second = list(straight), list(straight)
    for (a, b), x, y in zip(zip(loader, loader, strict=True), first, second, strict=True):
        assert (a.keys, b.keys) == (x.keys, y.keys)


def test_many_loaders_leave_no_threads_or_files(dataset: gs.Dataset) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    next(iter(gs.Loader(dataset, 4, crop=CROP)))
    before = held()
    for _ in range(10):
        next(iter(gs.Loader(dataset, 4, crop=CROP, threads=4)))
    deadline = time.monotonic() + 60  # a thread that was joined is listed for a moment more
    while any(now > then for now, then in zip(held(), before, strict=True)):
        assert time.monotonic() < deadline, f"{held()} threads and files instead of {before}"
        time.sleep(0.01)


def in_child(python: str, act: str, dataset: gs.Dataset) -> int:
    """Run code in a fork of a process that has used a loader; its exit status."""
    code = f"""
import os, sys
import genimage_stream as gs
loader = gs.Loader(gs.open_dataset({dataset.path!r}), 4, crop=16, threads=3)
running = iter(loader)
first = next(running)
expected = [batch.keys for batch in gs.Loader(loader.dataset, 4, crop=16)]
child = os.fork()
if child == 0:
    try:
        {act}
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert len([first, *running]) == len(loader)  # the parent goes on undisturbed
sys.exit(os.waitstatus_to_exitcode(status))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([python, "-c", code], env=environment, timeout=250, check=False).returncode


def test_fork(warm: str, dataset: gs.Dataset) -> None:
    act = """
        loader.set_epoch(0)
        assert [batch.keys for batch in loader] == expected  # an epoch of its own, with threads of its own
        try:
            next(running)
        except RuntimeError as error:
            assert "fork" in str(error)
        else:
            raise AssertionError("the parent's epoch went on in the child")
        del running, loader
    """
    assert in_child(warm, act.strip(), dataset) == 0


def test_a_fork_amid_many_jobs(warm: str, dataset: gs.Dataset) -> None:
    """A child once asked for the batches that its parent had queued, and failed by chance."""
    code = f"""
import os
import genimage_stream as gs
loader = gs.Loader(gs.open_dataset({dataset.path!r}), 8, crop=512, threads=2, prefetch=100)
running = iter(loader)
next(running)  # all others of the epoch are queued, and far from decoded
child = os.fork()
if child == 0:
    loader.set_epoch(0)
    os._exit(0 if sum(map(len, loader)) == {len(dataset)} else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert sum(map(len, running)) == {len(dataset)} - 8
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([warm, "-c", code], env=environment, timeout=250, check=False).returncode == 0


@pytest.mark.parametrize("options", ["channels_last=True", "channels_last=False"])
def test_a_fork_after_reordered_and_shortened_batches_does_not_hang(
    warm: str, options: str, with_damage: tuple[gs.Dataset, set[str]]
) -> None:
    """torch would do both by OpenMP, whose threads stay in the parent while the child waits for them."""
    dataset, bad = with_damage
    code = f"""
import os, signal
import torch
import genimage_stream as gs
torch.set_num_threads(2)
def count():
    loader = gs.Loader(gs.open_dataset({dataset.path!r}), 16, crop=200, output="float32", on_error="skip", {options})
    order = torch.channels_last if loader.options.channels_last else torch.contiguous_format
    batches = list(loader)
    assert all(batch.images.is_contiguous(memory_format=order) for batch in batches)
    return sum(map(len, batches))
counted = count()
assert counted == {len(dataset) - len(bad)}
child = os.fork()
if child == 0:
    signal.alarm(100)
    os._exit(0 if count() == counted else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([warm, "-c", code], env=environment, timeout=250, check=True)


def wait_for_line(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def test_ctrl_c(dataset: gs.Dataset) -> None:
    code = f"""
import sys, time
import genimage_stream as gs
loader = gs.Loader(gs.open_dataset({dataset.path!r}), 4, crop=16, threads=2)
try:
    for batch in loader:
        pass
    print("ready", flush=True)
    while True:
        for batch in loader:
            pass
except KeyboardInterrupt:
    print("interrupted", loader.state_dict()["epoch"] >= 0, flush=True)
    sys.exit(7)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        lines = wait_for_line(process)
        assert next(lines) == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert next(lines) == "interrupted True\n"
        assert process.wait(timeout=200) == 7
    finally:
        process.kill()
        process.wait()


def test_a_loader_imports_no_pandas(dataset: gs.Dataset) -> None:
    """pyarrow imports it in passing, which takes tenths of a second and loses a Ctrl-C that arrives meanwhile."""
    pytest.importorskip("pandas")
    code = f"""
import sys
import genimage_stream as gs
dataset = gs.open_dataset({dataset.path!r})
for part in (dataset, dataset.select(labels=["fake"])):
    loader = gs.Loader(part, 4, crop=16, threads=2)
    for batch in loader:
        batch.keys
    loader.load_state_dict(loader.state_dict())
print("pandas" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_the_interpreter_ends_with_an_epoch_under_way(dataset: gs.Dataset) -> None:
    code = f"""
import genimage_stream as gs
running = iter(gs.Loader(gs.open_dataset({dataset.path!r}), 4, crop=16, threads=3, prefetch=9))
next(running)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, timeout=250, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
