"""Every benchmark whose results are committed, part by part, each a process that writes its own result.

    make bench-full                                   all parts, results to .bench/results
    make bench-full ARGS="--record mix streams"       these parts, results to benchmarks/results
    python -m benchmarks.full [--record] [--list] [PART ...]

With --record, docs and README take the new figures at the end (`benchmarks.readme`).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.data import packed
from benchmarks.environments import ROOT


class Part(NamedTuple):
    """`command`: a module and its arguments, which also knows --record. `minutes`: how long on 2 cores, environments
    and data being there already."""

    about: str
    command: str
    minutes: float


PARTS = {
    "mix": Part("all loaders on GenImage's mix", "benchmarks.end_to_end", 8),
    "streams": Part("all loaders on each format and size by itself", "benchmarks.end_to_end --streams --rounds 2", 16),
    "decode": Part("decoders, one image at a time, and batches", "benchmarks.decode", 1.5),
    "packing": Part("packing beside tar and ShardWriter", "benchmarks.packing --copies 4", 5),
    "recoding": Part("packing crop-ready", "benchmarks.recoding", 1.5),
    "crop-ready": Part("what the crop-ready form costs and gains", "benchmarks.crop_ready", 2),
    "scaling": Part("threads, crops, image sizes", "benchmarks.scaling --rounds 3", 2.5),
    "index": Part("number of samples in the index", "benchmarks.growth index", 2.5),
    "index-shared": Part("processes that have one index open", "benchmarks.growth share", 0.5),
    "adding": Part("one generator added to a set of GenImage's size", "benchmarks.adding", 1),
    "memory": Part("memory against time", "benchmarks.growth memory", 1),
    "nodes": Part("orders on several nodes, simulated", "benchmarks.nodes", 2),
    "transforms": Part("published recipes and single transforms", "benchmarks.transforms", 10),
    "gpu": Part("the GPU check; CPU mode where there is no GPU", "benchmarks.gpu_check", 3),
    "demo": Part("the table at the end of the demo", "demo.compare", 1.5),
}


def main() -> int:
    """Run the parts one after the other; the exit code is the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--list", action="store_true", help="the parts and how long they take")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    chosen = given.parts or list(PARTS)
    if given.list:
        for name in chosen:
            part = PARTS[name]
            print(f"{name:12} {part.minutes:4g} min  {part.about}: python -m {part.command}")
        return 0
    packed()  # before the first clock starts
    failed = []
    for name in chosen:
        part = PARTS[name]
        command = [sys.executable, "-m", *part.command.split(), *(["--record"] if given.record else [])]
        print(
            f"\n== {name}: {part.about} (about {part.minutes:g} minutes)\n$ python {shlex.join(command[1:])}",
            flush=True,
        )
        begin = time.perf_counter()
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"== {name}: {(time.perf_counter() - begin) / 60:.1f} minutes", flush=True)
    if given.record and not failed:
        show = subprocess.run([sys.executable, "-m", "benchmarks.readme"], cwd=ROOT, check=False)
        failed += ["readme"] * bool(show.returncode)
    if failed:
        print(f"bench: these parts failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
