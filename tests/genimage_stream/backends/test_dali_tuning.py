"""Finding and remembering how DALI works fastest."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import genimage_stream as gs
from genimage_stream.backends import dali_tuning as tune
from genimage_stream.backends.dali_options import DaliOptions
from genimage_stream.loading.options import default_threads
from tests.genimage_stream.backends.test_dali import CROP, assert_same, dataset, epochs


def test_tuning_searches_once_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = dataset(tmp_path / "data")
    searches: list[Any] = []
    monkeypatch.setattr(tune, "images_per_second", lambda trial, seconds: searches.append(trial.dali) or 1.0)
    loader = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali", tune=True)
    assert searches
    before = len(searches)
    assert_same(list(loader), epochs(data, "cpu", 1))
    gs.Loader(data, 7, crop=CROP, backend="dali", tune=True)
    assert len(searches) == before
    memory = tmp_path / "cache/genimage-stream/dali.json"
    (key,) = json.loads(memory.read_text())
    assert '"crop_ready": false' in key
    good = json.loads(memory.read_text())[key]
    for number, text in enumerate(["not JSON", "[1]", *(json.dumps({key: bad}) for bad in nonsense(good))]):
        memory.write_text(text)
        gs.Loader(data, 7, crop=CROP, backend="dali", tune=True)
        assert len(searches) == (2 + number) * before
        assert json.loads(memory.read_text()) == {key: good}


WORK = tune.Work(torch.device("cpu"), 7, (CROP, CROP), "uint8", None, None, crop_ready=False)


def trials(data: gs.Dataset) -> Callable[[DaliOptions], gs.Loader]:
    return lambda dali: gs.Loader(data, WORK.batch_size, crop=CROP, backend="dali", dali=dali)


def nonsense(good: dict[str, Any]) -> list[Any]:
    """What another version, or a broken disk, might have left."""
    bad: list[Any] = [None, 3, {}, {**good, "colour": "blue"}, {"threads": 2}]
    return bad + [{**good, name: value} for name in good for value in (-1, "2", None, 10**9)]


def test_one_of_several_at_once_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is one of open files, so threads can play the ranks of a run."""
    make = trials(dataset(tmp_path / "data"))
    searchers: set[int] = set()

    def slowly(*_: Any) -> float:
        searchers.add(threading.get_ident())
        time.sleep(0.02)
        return 1.0

    monkeypatch.setattr(tune, "images_per_second", slowly)
    with ThreadPoolExecutor(3) as ranks:
        calls = [ranks.submit(tune.tuned, make, WORK, cache=tmp_path / "c.json") for _ in range(3)]
    assert {call.result() for call in calls} == {DaliOptions()}
    assert len(searchers) == 1


def test_tuning_without_a_place_to_remember_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tune, "images_per_second", lambda *rest: 1.0)
    loader = gs.Loader(dataset(tmp_path / "data"), 7, crop=CROP, backend="dali", tune=True)
    assert len(next(iter(loader))) == 7


def test_tuning_minds_no_broken_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    measure = tune.images_per_second
    monkeypatch.setattr(tune, "images_per_second", lambda trial, seconds: measure(trial, 0.01))
    data = dataset(tmp_path / "data", lambda d: d[:100])
    assert gs.Loader(data, 70, crop=CROP, backend="dali", tune=True, on_error="skip", max_errors=1).dali.ahead >= 1


@pytest.mark.parametrize(
    "options",
    [
        {"hw_decoder_load": 1.5},
        {"hw_decoder_load": "0.5"},
        {"threads": 0},
        {"threads": "2"},
        {"threads": 2.5},
        {"ahead": 0},
        {"check": "no"},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        DaliOptions(**options)


def test_options_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a DaliOptions is needed"):
        gs.Loader(dataset(tmp_path), 7, crop=CROP, backend="dali", dali={"threads": 2})  # type: ignore[arg-type]


def test_tuning_measures_real_runs(tmp_path: Path) -> None:
    make = trials(dataset(tmp_path / "data"))
    found = tune.tuned(make, WORK, seconds=0.01, cache=tmp_path / "cache.json")
    assert found.ahead in (1, 2, 3, 5)


def test_the_search_finds_the_best_of_independent_options() -> None:
    best = DaliOptions(hw_decoder_load=0.7, threads=4, ahead=2)

    def rate(options: DaliOptions) -> float:
        same = [getattr(options, name) == getattr(best, name) for name in ("hw_decoder_load", "threads", "ahead")]
        return 100 * 1.1 ** sum(same)

    assert tune.search(rate, on_gpu=True, cpus=16)[0] == best
    assert tune.search(rate, on_gpu=False, cpus=1)[0].threads <= 2


@pytest.mark.parametrize(("cpus", "threads"), [(1, {1, 2}), (6, {1, 2, 4, 6}), (64, {1, 2, 4, 8, 16})])
def test_threads_come_first_and_go_up_to_the_cpus(cpus: int, threads: set[int]) -> None:
    tried: list[DaliOptions] = []
    tune.search(lambda options: float(tried.append(options) or 1.0), on_gpu=True, cpus=cpus)
    untouched = [one for one in tried if (one.hw_decoder_load, one.ahead) == (0.9, 3)]
    assert {one.threads for one in untouched} == threads | {DaliOptions().threads}
    assert tried[: len(untouched)] == untouched


def test_what_works_beside_dali_has_cpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, decoding, dalis_own in ((1, 1, 2), (4, 2, 2), (8, 6, 4), (16, 14, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)))
        assert default_threads(dali_on_gpu=True) == decoding
        assert default_threads(dali_on_gpu=False) == cpus
        assert DaliOptions().threads == dalis_own
