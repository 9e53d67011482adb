"""Growing a dataset of GenImage's size: what `pack --add` of one generator costs beside packing that generator alone.

    python -m benchmarks.adding [--rounds 3] [--record]

The large dataset is the packed stand-ins of seven generators with the rows of their index over and over, 2,681,167 in
all; the eighth generator is added to it, as its owner would when its zips arrive. Every round packs the generator alone
and adds it, each into a folder of its own, in a process of its own. Results go to .bench/results, or with --record to
benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.comparison import log
from benchmarks.data import link_or_copy, texts, tree
from benchmarks.environments import ROOM, ROOT

ROWS = 2_681_167
ADDED = "wukong"
SHARD_SIZE = ["--shard-size", "16MB"]
Taken = dict[str, float]


def pack(*arguments: object) -> Taken:
    """Seconds on the wall and of CPU that one `shard-tools pack` took."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "shard_tools", "pack", *map(str, arguments), *SHARD_SIZE]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - begin, "cpu": cpu}


def parts_of_the_tree(room: Path) -> tuple[Path, Path]:
    """The tree's generators but one, and that one."""
    many, one = room / "many", room / "one"
    for folder in sorted(tree().iterdir()):
        target = (one if folder.name == ADDED else many) / folder.name
        shutil.copytree(folder, target, copy_function=link_or_copy)
    return many, one


def grown(dataset: Path, rows: int) -> None:
    """Repeat the rows of a dataset, about `rows` in all, as `keys` and files that differ; what counts them follows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from genimage_stream import schema

    table = pq.read_table(dataset / schema.INDEX_FILE)
    times = rows // len(table)
    table = table.take(pa.array(np.repeat(np.arange(len(table)), times)))
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.tile(np.arange(times), len(table) // times)), pa.string()), 5, "0")
    for name in ("key", "source"):
        words = pc.binary_join_element_wise(pc.cast(table[name], pa.string()), numbers, "_")
        table = table.set_column(table.schema.get_field_index(name), name, words)
    hashes = texts(64, np.random.default_rng(rows).bytes(32 * len(table)).hex().encode())
    table = table.set_column(table.schema.get_field_index("sha256"), "sha256", hashes)
    pq.write_table(table, dataset / schema.INDEX_FILE, compression="zstd", row_group_size=128 * 1024)
    known: dict[str, Any] = json.loads((dataset / schema.DATASET_FILE).read_text())
    known["counts"]["samples"] *= times
    for counted in (*known["counts"]["groups"], *known["shards"]):
        counted["samples"] *= times
    (dataset / schema.DATASET_FILE).write_text(json.dumps(known))
    (dataset / schema.MAP_FILE).unlink(missing_ok=True)


def linked_if_a_tar(source: str, target: str) -> None:
    """What the packer writes anew must not share its bytes with the next round's."""
    (link_or_copy if source.endswith(".tar") else shutil.copy)(source, target)


def measured(rounds: int, room: Path) -> tuple[list[Taken], list[Taken]]:
    """Packing the generator alone, and adding it."""
    from genimage_stream import schema

    many, one = parts_of_the_tree(room)
    large = room / "large"
    pack(many, large)
    grown(large, ROWS)
    log(f"adding: a dataset of {ROWS:,} rows is made")
    alone, added = [], []
    for number in range(rounds):
        alone.append(pack(one, room / f"alone-{number}"))
        target = room / f"added-{number}"
        shutil.copytree(large, target, copy_function=linked_if_a_tar)
        added.append(pack("--add", one, target))
        facts = json.loads((target / schema.DATASET_FILE).read_text())
        log(f"adding: round {number + 1}: {alone[-1]}, {added[-1]}, {facts['counts']['samples']:,} samples")
        shutil.rmtree(target)
    return alone, added


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    given = parser.parse_args()
    room = ROOM / "data" / "adding"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    try:
        alone, added = measured(given.rounds, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    lines = ["| | on the wall, s | CPU, s |", "|---|---:|---:|"]
    middle = {}
    for name, found in (("the generator alone", alone), ("added to the large dataset", added)):
        middle[name] = [statistics.median(one[key] for one in found) for key in ("seconds", "cpu")]
        lines.append(f"| {name} | {middle[name][0]:.1f} | {middle[name][1]:.1f} |")
    first, second = middle.values()
    lines.append(f"| what the growth costs | {second[0] - first[0]:.1f} | {second[1] - first[1]:.1f} |")
    print("\n".join(lines))
    markdown, _ = harness.write_results(
        "adding",
        f"One generator added to a dataset of {ROWS:,} samples",
        {"Packing": "\n".join(lines)},
        {"rows": ROWS, "alone": alone, "added": added},
        package_versions=harness.versions("genimage-stream", "numpy", "pyarrow"),
        remarks=[f"Medians of {given.rounds} rounds; whole commands, 288 images of {ADDED}."],
        folder=harness.RESULTS if given.record else ROOM / "results",
    )
    print(f"bench: written: {markdown.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
