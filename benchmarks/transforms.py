"""Transforms: published recipes end to end beside other ways to run them, and each step beside the library it equals.

    python -m benchmarks.transforms [--rounds N] [--threads N] [--transforms cnnspot,safe] [--no-steps] [--record]

Recipes: every way (benchmarks/transformed/) in a process of its own, in turn, an epoch of the training images of the
plain shards; about a minute for each. Steps: one thread, CPU time, a minute for all. Results go to .bench/results, or
with --record to benchmarks/results, from which the table in docs/transforms.md is taken.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparison import log
from benchmarks.data import packed
from benchmarks.environments import ROOM, ROOT
from benchmarks.harness import RESULTS, Measurement, as_json, machine, measure, ratio_text, versions, write_results
from benchmarks.transformed import TRANSFORMS
from benchmarks.transformed.comparison import Transformed

OURS = "genimage-stream"
WAYS = ("as published", "fastest public parts", "DALI, CPU")
STEP_ROUNDS = 9
PHOTOGRAPHS = 6
REMARKS = (
    "Recipes: every training image of GenImage's mix (stand-ins, `benchmarks/data.py`; plain shards in the page cache) "
    "once per epoch, transformed and normalised to float32 batches of 64, by {threads} threads or worker processes; "
    "medians of {rounds} rounds in which every way has its turn, and ratios within the rounds with their range. *As "
    "published* is a DataLoader whose workers run what the repositories call: Pillow or OpenCV, torchvision or "
    "albumentations, SciPy. *Fastest public parts* are the same operations by simplejpeg, kornia-rs (PNG), OpenCV's "
    "resize without antialiasing, NumPy's crops, and SciPy's blur, with one normalisation per batch: other pixels "
    "where it resizes. DALI runs its own resize, blur and JPEG, whose pixels are others too. What each does exactly is "
    "in `benchmarks/transformed/`.",
    "",
    "Steps: one image after the other on one thread, CPU time, medians of {step_rounds} rounds over {photographs} "
    "photographs; both sides with the same drawn values, the library with the image in the form that it takes. Ours "
    "without drawing the values, which a loader does for whole batches.",
)

Steps = dict[str, tuple[Measurement, Measurement]]


def measure_steps(rounds: int, photographs: int) -> tuple[Steps, dict[str, str], dict[str, str]]:
    """By the step's name ours and the library's; each step's image size and library; versions."""
    from benchmarks.transformed import libraries, single

    pictures = single.photographs(photographs)
    found: Steps = {}
    about = {}
    for case in single.CASES:
        both = measure(single.contestants(case, pictures), rounds=rounds, clock=time.process_time)
        ours, theirs = both.values()
        found[case.name] = (ours, theirs)
        about[case.name] = f"{case.size}, {case.library}"
    return found, about, versions(*libraries.PACKAGES)


def recipe_rows(comparisons: Mapping[str, Mapping[str, Measurement]]) -> str:
    """A row for each transform: images per second of each way, and how many times as fast ours is."""
    ways = [f"{way} | times" for way in WAYS]
    lines = [f"| transform | ours, images/s | {' | '.join(ways)} |", "|---|" + "---:|" * (1 + 2 * len(WAYS))]
    for name, measured in comparisons.items():
        ours = measured.get(OURS)
        cells = []
        for way in WAYS:
            one = measured.get(way)
            cells += [f"{one.rate:,.0f}" if one else "", ratio_text(ours.ratios(one)) if ours and one else ""]
        lines.append(f"| {TRANSFORMS[name].title} | {f'{ours.rate:,.0f}' if ours else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def step_rows(steps: Mapping[str, tuple[Measurement, Measurement]], about: Mapping[str, str]) -> str:
    """A row for each step: microseconds an image of ours and of the library."""
    lines = ["| step | image | ours, µs | library | its µs | times |", "|---|---|---:|---|---:|---:|"]
    for name, (ours, theirs) in steps.items():
        size, _, library = about[name].partition(", ")
        times = [f"{1e6 / one.rate:,.0f}" for one in (ours, theirs)]
        ratio = f"{statistics.median(ours.ratios(theirs)):.1f}"
        lines.append(f"| `{name}` | {size} | {times[0]} | {library} | {times[1]} | {ratio} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs of each way")
    parser.add_argument("--threads", type=int, default=machine()["cpus"], help="threads or workers of each way")
    parser.add_argument("--transforms", help=f"comma-separated, of {', '.join(TRANSFORMS)} (default: all); or none")
    parser.add_argument("--no-steps", action="store_true", help="without the single steps")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results and docs/transforms.md")
    given = parser.parse_args()
    named = TRANSFORMS if given.transforms is None else tuple(filter(None, given.transforms.split(",")))
    given.transforms = () if tuple(named) == ("none",) else tuple(named)
    if unknown := set(given.transforms) - set(TRANSFORMS):
        parser.error(f"--transforms: {', '.join(sorted(unknown))} is none of {', '.join(TRANSFORMS)}")
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads: at least 1")
    if given.record and (given.no_steps or len(given.transforms) < len(TRANSFORMS)):
        parser.error("--record is for all transforms and steps")
    return given


def main() -> int:
    """Measure, print the tables, write Markdown and JSON."""
    given = parse()
    if given.transforms:
        packed()  # before the first clock starts
    comparisons: list[Transformed] = []
    for name in given.transforms:
        comparisons.append(Transformed(name, given.threads, given.rounds))
        print(f"\n{TRANSFORMS[name].title}\n\n{comparisons[-1].table()}", flush=True)
    steps, about, used = ({}, {}, {}) if given.no_steps else measure_steps(STEP_ROUNDS, PHOTOGRAPHS)
    written = write(comparisons, steps, about, used, given, RESULTS if given.record else ROOM / "results")
    print("\n" + written.read_text())
    log(f"written: {written.relative_to(ROOT)}")
    if given.record:
        from benchmarks import readme

        return readme.main()
    return 0


def write(
    comparisons: Sequence[Transformed],
    steps: Steps,
    about: Mapping[str, str],
    used: Mapping[str, str],
    given: argparse.Namespace,
    folder: Path,
) -> Path:
    """Markdown and JSON."""
    known = {"threads": given.threads, "rounds": given.rounds, "step_rounds": STEP_ROUNDS, "photographs": PHOTOGRAPHS}
    sections, data = {}, {"threads": given.threads, "rounds": given.rounds, "tables": {}}
    all_versions: dict[str, str] = dict(used)
    for one in comparisons:
        all_versions |= one.versions
    tables: dict[str, str] = {}
    if comparisons:
        tables["recipes"] = recipe_rows({one.name: one.measurements for one in comparisons})
        left_out = [f"{TRANSFORMS[one.name].title}: {why}" for one in comparisons for why in one.left_out.values()]
        notes = ["", *(f"Left out: {why}." for why in left_out)] if left_out else []
        sections["Recipes, end to end"] = "\n".join([tables["recipes"], *notes])
        for one in comparisons:
            sections[TRANSFORMS[one.name].title] = one.table()
    if steps:
        tables["steps"] = sections["Steps"] = step_rows(steps, about)
    data |= {"tables": tables, "transforms": {one.name: one.data() for one in comparisons}}
    data["steps"] = {
        name: {"about": about[name], **as_json({"ours": ours, "library": theirs})}
        for name, (ours, theirs) in steps.items()
    }
    markdown, _ = write_results(
        "transforms",
        "Transforms: recipes end to end, and single steps",
        sections,
        data,
        package_versions=dict(sorted(all_versions.items())),
        remarks=[line.format(**known) for line in REMARKS],
        folder=folder,
    )
    return markdown


if __name__ == "__main__":
    sys.exit(main())
