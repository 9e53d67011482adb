"""Images per second of this loader beside webdataset + Pillow: same shards, same work, taking turns."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.harness import Contestant, Measurement, measure
from benchmarks.peers import Work
from benchmarks.peers.client import PeerProcess

NAMES = ("ours", "webdataset_pillow")
ROUNDS = 3


def compare(dataset: Path, scratch: Path, images: int) -> dict[str, Measurement]:
    """Measure epochs over all shards of `dataset`, whose index names `images` samples."""
    shards = tuple(str(path.resolve()) for path in sorted(dataset.glob("*/*/*.tar")))
    workers = min(2, os.cpu_count() or 1)
    work = {
        name: Work(str(dataset.resolve()), shards, images, str((scratch / name).resolve()), workers=workers)
        for name in NAMES
    }
    with PeerProcess(NAMES[0], work[NAMES[0]]) as ours, PeerProcess(NAMES[1], work[NAMES[1]]) as theirs:
        contestants = [Contestant(peer.about["title"], peer.epoch, images) for peer in (ours, theirs)]
        return measure(contestants, rounds=ROUNDS)
