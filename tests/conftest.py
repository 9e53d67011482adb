"""For all tests."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest

import benchmarks.torchvision_operators  # noqa: F401  (before any test imports torchvision)
from tests.fixtures.s3 import S3Server, s3_server
from tests.fixtures.warm import warm_python

# A machine that does other things too is slow, and that is no fault of the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# A shell starts what runs in its background with Ctrl-C ignored, and ignoring is inherited; the tests of Ctrl-C are
# about programs that somebody runs in front of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store on this machine."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs keep in the user's cache goes elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def warm() -> Iterator[str]:
    """A program that does what the interpreter does, and has imported torch before: tests/fixtures/warm.py."""
    with warm_python() as path:
        yield path


#: Files that take long, longest first. With several workers they are begun first: one that is begun last keeps
#: one worker busy after the others have ended.
LONG = (
    "tests/genimage_stream/decode/test_fuzz_short.py",
    "tests/genimage_stream/loading/test_trainers.py",
    "tests/genimage_stream/loading/test_accelerators.py",
    "tests/test_examples.py",
    "tests/test_how_do_i.py",
    "tests/test_tutorial.py",
    "tests/benchmarks/test_gpu_check.py",
    "tests/shard_tools/test_elsewhere.py",
    "tests/shard_tools/test_object_store.py",
    "tests/genimage_stream/evaluation/test_evaluate.py",
    "tests/shard_tools/test_interruptions.py",
    "tests/shard_tools/test_command_line.py",
    "tests/shard_tools/test_growth.py",
    "tests/shard_tools/test_ray.py",
    "tests/genimage_stream/storage/test_cache.py",
    "tests/genimage_stream/recipes/test_recipes.py",
    "tests/test_benchmarks.py",
    "tests/shard_tools/test_report.py",
    "tests/test_docs.py",
    "tests/test_readme.py",
)
#: Files that one worker runs, because what they import (Lightning, transformers) takes it seconds.
TRAINERS = ("loading/test_trainers.py", "loading/test_accelerators.py", "tests/test_examples.py")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # else xdist begins with the files of the most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return LONG.index(file) if file in LONG else len(LONG)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers (pytest -n 2) the tests of a file share one, as they share fixtures.

    Not by marks of xdist_group: xdist 3.8 writes them into a private name that pytest 9.2 does not read any more."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "trainers" if file.endswith(TRAINERS) else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With several workers, no other test runs beside one that is marked `alone`."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    alone = request.node.get_closest_marker("alone") is not None
    folder = tmp_path_factory.getbasetemp().parent
    with ExitStack() as files:
        gate, room = (files.enter_context((folder / name).open("w")) for name in ("gate", "room"))
        fcntl.flock(gate, fcntl.LOCK_EX)  # who waits for the room holds the gate, so that nobody overtakes
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
