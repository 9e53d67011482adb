"""Statistics: what is counted, and what they say is the slowest."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

import genimage_stream as gs
from genimage_stream.loading.stats import StatsCounter
from tests.fixtures.shards import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 6))


def test_counts(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 10, crop=16, threads=2, prefetch=3)
    assert loader.stats().bottleneck == "none"
    assert loader.stats().images_per_second == 0
    for _ in range(2):
        list(loader)
    found = loader.stats()
    assert (found.batches, found.images, found.skipped) == (2 * len(loader), 2 * len(dataset), 0)
    assert found.bytes == 2 * sum(dataset.table(["size"])["size"].to_pylist())
    assert found.seconds > 0
    assert found.wait_seconds + found.consumer_seconds == pytest.approx(found.seconds)
    assert 0 <= found.storage_wait_seconds <= found.wait_seconds
    assert found.decode_seconds > 0
    assert found.storage_seconds > 0
    assert 0 <= found.ready <= found.queue_depth == 3
    assert found.threads == 2
    assert found.images_per_second == found.images / found.seconds
    assert "images/s" in str(found)
    assert pickle.loads(pickle.dumps(found)) == found
    loader.reset_stats()
    assert loader.stats().images == 0


def test_a_slow_consumer_is_seen(dataset: gs.Dataset) -> None:
    for pause in (0.15, 0.5, 2.0):  # a loaded machine may need longer to have a batch ready
        loader = gs.Loader(dataset, 24, crop=16, prefetch=2)
        for _ in loader:
            time.sleep(pause)
        found = loader.stats()
        assert found.consumer_seconds >= 3 * pause
        if found.ready > 0:
            return
    raise AssertionError("no batch was ever ready")


@pytest.mark.parametrize(
    ("wait", "storage_wait", "expected"), [(0.05, 0.05, "consumer"), (0.5, 0.4, "storage"), (0.5, 0.1, "decode")]
)
def test_the_bottleneck(wait: float, storage_wait: float, expected: str) -> None:
    counter = StatsCounter(2, 2)
    counter.add(
        images=1, size_bytes=1, skipped=0, ready=0, wait=wait, storage_wait=storage_wait, storage=0.0, decode=0.0
    )
    counter.consumer(1 - wait)
    assert counter.snapshot().bottleneck == expected
    assert expected in str(counter.snapshot())


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Twenty epochs take no more than one: buffers are used again, nothing is kept per batch or per epoch.

    What grows once, in whatever else this process does, is no leak: a leak grows every time."""
    loader = gs.Loader(
        gs.open_dataset(make_dataset(tmp_path, 12)), 8, crop=64, output="float32", mix={"label": "equal"}
    )

    def resident_kib() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text[text.index("VmRSS:") :].split()[1])

    for _ in range(5):
        for batch in loader:
            batch.keys  # noqa: B018 - they are looked up
    grown = []
    for _ in range(4):
        before = resident_kib()
        for _ in range(20):
            for batch in loader:
                batch.keys  # noqa: B018
        grown.append(resident_kib() - before)
        if grown[-1] < 4096:
            return
    raise AssertionError(f"20 epochs took {grown} KiB more, each time")
