"""Images per second of this loader beside webdataset + Pillow: same shards, same work, taking turns.

    python -m demo.compare [--record]      this last part of the demo by itself, its data made if they are not there

The table goes to .demo/results, or with --record to benchmarks/results, from which the README's is taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import RESULTS, Contestant, Measurement, as_json, measure, table, versions, write_results
from benchmarks.peers import Work
from benchmarks.peers.client import PeerProcess
from genimage_stream.resources import cores

NAMES = ("ours", "webdataset_pillow")
ROUNDS = 3
ROOM = Path(".demo")
TREE = ROOM / "GenImage"
SHARDS = ROOM / "shards"
PACK_OPTIONS = ("--shard-size", "24MB")


def compare(dataset: Path, scratch: Path, images: int) -> dict[str, Measurement]:
    """Measure epochs over all shards of `dataset`, whose index names `images` samples."""
    shards = tuple(str(path.resolve()) for path in sorted(dataset.glob("*/*/*.tar")))
    workers = min(2, cores())
    work = {
        name: Work(str(dataset.resolve()), shards, images, str((scratch / name).resolve()), workers=workers)
        for name in NAMES
    }
    with PeerProcess(NAMES[0], work[NAMES[0]]) as ours, PeerProcess(NAMES[1], work[NAMES[1]]) as theirs:
        contestants = [Contestant(peer.about["title"], peer.epoch, images) for peer in (ours, theirs)]
        return measure(contestants, rounds=ROUNDS)


def write(compared: dict[str, Measurement], images: int, folder: Path) -> str:
    """Write the result `demo` to a folder; returns its table."""
    shown = table(compared, baseline="webdataset + Pillow")
    write_results(
        "demo",
        "The demo's last table",
        {f"{images:,} images an epoch, medians of {ROUNDS} rounds": shown},
        {"table": shown, "loaders": as_json(compared)},
        package_versions=versions("genimage-stream", "webdataset", "pillow", "torch"),
        folder=folder,
    )
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    given = parser.parse_args()
    import genimage_stream as gs
    from stand_ins.tree import make_tree

    ROOM.mkdir(exist_ok=True)
    make_tree(TREE)
    command = [sys.executable, "-m", "shard_tools", "pack", str(TREE), str(SHARDS), *PACK_OPTIONS]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    images = len(gs.open_dataset(SHARDS))
    print(write(compare(SHARDS, ROOM / "compare", images), images, RESULTS if given.record else ROOM / "results"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
