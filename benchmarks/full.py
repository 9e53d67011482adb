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
from benchmarks.environments import ROOM, ROOT
from benchmarks.harness import RESULTS


class Part(NamedTuple):
    """`command`: a module and its arguments; {out} is the folder of the results, {tree} loose files, {record} the
    option for those that know it. `minutes`: how long on 2 cores, environments and data being there already."""

    about: str
    command: str
    minutes: float


PARTS = {
    "mix": Part("all loaders on GenImage's mix", "end_to_end --rounds 4 {record}", 10),
    "streams": Part("each format and size by itself", "end_to_end --streams --rounds 3 {record}", 5),
    "decode": Part("decoders, one image at a time, and batches", "decode --out {out}", 1.5),
    "packing": Part("packing beside tar and ShardWriter", "packing --copies 4 {record}", 4),
    "scaling": Part("threads, crops, image sizes", "scaling --rounds 3 {record}", 2.5),
    "index": Part("number of samples in the index", "growth index {record}", 2.5),
    "memory": Part("memory against time", "growth memory {record}", 1),
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
    folder = RESULTS if given.record else ROOM / "results"
    folder.mkdir(parents=True, exist_ok=True)
    if given.list:
        for name in chosen:
            part = PARTS[name]
            print(f"{name:8} {part.minutes:4g} min  {part.about}: python -m benchmarks.{part.command}")
        return 0
    packed()  # before the first clock starts
    failed = []
    for name in chosen:
        part = PARTS[name]
        words = part.command.format(out=folder.relative_to(ROOT), record="--record" if given.record else "").split()
        command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]]
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
