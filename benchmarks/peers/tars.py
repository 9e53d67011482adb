"""The samples of the shards, for peers that convert them into a format of their own first."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from benchmarks.peers import Work


def samples(work: Work) -> Iterator[tuple[str, bytes, int]]:
    """(file name, image bytes, label) of every sample, in the order of the shards."""
    for shard in work.shards:
        with tarfile.open(shard) as tar:
            name, image = "", b""
            for member in tar:
                stem, _, suffix = member.name.rpartition(".")
                stream = tar.extractfile(member)
                assert stream is not None
                if suffix in ("jpg", "png"):
                    name, image = member.name, stream.read()
                elif suffix == "cls":
                    assert name.startswith(stem), f"{shard}: {member.name} follows {name}"
                    yield name, image, int(stream.read())
