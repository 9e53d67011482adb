"""The bytes that are written out by hand against the libraries that would write them."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest

from genimage_stream.decode import ImageFacts
from shard_tools import plan, tar
from shard_tools.errors import ToolError
from shard_tools.packing.commands import shard_bytes
from shard_tools.read_ahead import BATCH_BYTES, BATCH_ITEMS, batches
from shard_tools.shard import sample_facts


@pytest.mark.parametrize("length", [1, 50, 99, 100, 101, 255, 300])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 123_456])
def test_headers_read_back(length: int, size: int) -> None:
    name = "k" * (length - 4) + ".jpg" if length > 4 else "k" * length
    data = bytes(range(256)) * (size // 256 + 1)
    raw = tar.header(name, size) + data[:size] + tar.padding(size) + tar.END
    assert len(raw) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.mode, member.mtime) == (name, size, 0o644, 0)
        assert archive.extractfile(member).read() == data[:size]  # type: ignore[union-attr]


def test_header_is_what_tarfile_writes_but_for_device_numbers() -> None:
    info = tarfile.TarInfo("adm_train_fake_1.png")
    info.size = 4711
    expected = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    ours = bytearray(tar.header("adm_train_fake_1.png", 4711))
    for raw in (expected, ours):  # POSIX wants device numbers, tarfile leaves them empty for plain files
        raw[329:345] = raw[148:156] = bytes(16)
    assert ours == expected


@pytest.mark.parametrize("class_index", [-1, 0, 281])
@pytest.mark.parametrize("quality", [None, 96])
@pytest.mark.parametrize("synset", [None, "n99999999"])
def test_facts_are_json(class_index: int, quality: int | None, synset: str | None) -> None:
    facts = ImageFacts("jpeg", "I;16", 5, 6, 8, quality, quality is None)
    raw = sample_facts("flux_1-dev", "val", "fake", class_index, synset, facts, 77, "ab" * 32)
    expected = {
        "generator": "flux_1-dev",
        "split": "val",
        "label": "fake",
        "class_index": None if class_index < 0 else class_index,
        "synset": synset if class_index < 0 else {0: "n01440764", 281: "n02123045"}[class_index],
        "format": "jpeg",
        "mode": "I;16",
        "width": 5,
        "height": 6,
        "jpeg_quality": quality,
        "progressive": quality is None,
        "size": 77,
        "sha256": "ab" * 32,
    }
    assert raw == json.dumps(expected, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256_000_000),
        ("1GiB", 2**30),
        ("500k", 500_000),
        ("1.5 gb", 1_500_000_000),
        ("40960", 40960),
        ("64KiB", 65536),
    ],
)
def test_shard_bytes(text: str, size: int) -> None:
    assert shard_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "MB", "-5MB", "1 parsec", "1i", "4096"])
def test_shard_bytes_refuses(text: str) -> None:
    with pytest.raises(ToolError, match="--shard-size"):
        shard_bytes(text)


def planned(n: int, limit: int, seed: int = 0) -> tuple[plan.Plan, np.ndarray]:
    size = np.random.default_rng(1).integers(1, 50_000, n)
    key = pa.array([f"k{i:06d}" for i in range(n)])
    group = (np.arange(n) % 3).astype(np.int32)
    groups = [("b", "train"), ("a", "train"), ("a", "val")]
    return plan.make_plan(key, size, group, groups, seed=seed, shard_bytes=limit), size


@pytest.mark.parametrize("limit", [1, 60_000, 100_000, 1_000_000, 10**9])
def test_plan_places_every_sample_once_within_the_limit(limit: int) -> None:
    made, size = planned(1000, limit)
    assert sorted(made.order.tolist()) == list(range(1000))
    assert [made.shards[0].begin, made.shards[-1].end] == [0, 1000]
    for one, other in zip(made.shards, made.shards[1:], strict=False):
        assert one.end == other.begin
    costs = tar.sample_bytes(size)
    for shard in made.shards:
        rows = made.order[shard.begin : shard.end]
        assert len(rows) == 1 or costs[rows].sum() + 1024 <= max(limit, 1024)
    assert [s.path for s in made.shards] == sorted(s.path for s in made.shards)


def test_shards_of_a_group_are_nearly_equal() -> None:
    made, size = planned(3000, 1_000_000)
    costs = tar.sample_bytes(size)
    for name in ("a/train", "a/val", "b/train"):
        sums = [costs[made.order[s.begin : s.end]].sum() for s in made.shards if s.path.startswith(name)]
        assert len(sums) > 10
        assert min(sums) > 0.9 * max(sums)


def test_the_plan_is_what_it_was() -> None:
    """The order of version 1, permanently: a change of it would change everybody's shards."""
    made, _ = planned(30, 10**9)
    assert made.order[:10].tolist() == PLAN_OF_VERSION_1
    assert planned(30, 10**9)[0].digest == made.digest
    assert planned(30, 10**9, seed=1)[0].order.tolist() != made.order.tolist()


PLAN_OF_VERSION_1 = [25, 4, 16, 7, 22, 19, 1, 28, 13, 10]


def test_batches() -> None:
    assert list(batches([], lambda item: item)) == []
    sizes = [1] * 40 + [BATCH_BYTES + 5, 1, BATCH_BYTES // 2, BATCH_BYTES // 2 + 1, 1]
    found = list(batches(sizes, lambda item: item))
    assert [size for batch in found for size in batch] == sizes
    assert all(len(batch) <= BATCH_ITEMS and (len(batch) == 1 or sum(batch) <= BATCH_BYTES) for batch in found)
