"""For all tests."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import benchmarks.torchvision_operators  # noqa: F401  (before any test imports torchvision)
from tests.fixtures.s3 import S3Server, s3_server
from tests.fixtures.warm import warm_python

# A shell starts what runs in its background with Ctrl-C ignored, and ignoring is inherited; the tests of Ctrl-C are
# about programs that somebody runs in front of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store on this machine."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


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


def file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (pytest -n 2 --dist loadgroup) the tests of a file share one, as they share fixtures."""
    for item in items:
        file = file_of(item)
        item.add_marker(pytest.mark.xdist_group("trainers" if file.endswith(TRAINERS) else file))
    items.sort(key=lambda item: LONG.index(file_of(item)) if file_of(item) in LONG else len(LONG))


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
