"""Correctness and throughput on a machine with an NVIDIA GPU, in one command:

    python -m benchmarks.gpu_check                                  # on stand-ins, which it makes and packs first
    python -m benchmarks.gpu_check --plain DST --crop-ready DST2    # the same images, without and with --crop-ready

It builds what has changed of the extension, measures this loader beside DALI's own webdataset reader and webdataset +
Pillow (all images, then reals alone and fakes alone; each in a process of its own, in turns), reads the GPU's and the
CPUs' use meanwhile, trains a ResNet-50 from the streams and compares GPU and CPU pixels. What matters most comes first,
and what hangs or fails costs its own figures only. The results (gpu) are written after every step, to .bench/results,
or with --record to benchmarks/results; a short table comes last. By default it takes about eight minutes. Without a
GPU, or with --device cpu, it runs in CPU mode: gpu-check-cpu-mode.

Exit code 2: something is missing, and what to install is said. 1: pixels differ that must not or could not be compared,
or a contestant gave up; the results hold what was measured all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # python benchmarks/gpu_check.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environments import ROOM
from benchmarks.gpu import needs
from benchmarks.gpu.checks import Checked
from benchmarks.gpu.setting import Setting
from benchmarks.harness import RESULTS

if TYPE_CHECKING:
    from benchmarks.gpu.rounds import Contest, Outcome

#: What most settings are without being asked for: on a GPU, in CPU mode.
DEFAULTS = {
    "batch_size": (256, 64),
    "seconds": (2.0, 1.5),
    "rounds": (4, 3),
    "steps": (40, 0),
    "epoch": (200_000, 50_000),
}
FEW_BATCHES = 100  # an epoch below this is mostly its own beginning


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", type=Path, help="a packed dataset")
    parser.add_argument("--crop-ready", type=Path, help="the same images packed with --crop-ready")
    parser.add_argument("--device", help="cuda:1, say, or cpu; by default the first GPU if there is one")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, help="256; 64 in CPU mode")
    parser.add_argument("--seconds", type=float, help="of a contestant's turn: 2; 1.5 in CPU mode")
    parser.add_argument("--rounds", type=int, help="4; 3 in CPU mode")
    parser.add_argument("--steps", type=int, help="of training: 40; none in CPU mode")
    parser.add_argument(
        "--epoch", type=int, help="rows of smaller datasets are repeated up to this: 200000; 50000 in CPU mode"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=7,
        help="after these nothing begins but what is needed, the first round and the pixels: 7",
    )
    parser.add_argument("--without", nargs="*", default=[], choices=list(needs.PEERS), help="packages to do without")
    parser.add_argument("--no-build", action="store_true", help="take the extension as it is")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--record", action="store_true", help="write to benchmarks/results")
    where.add_argument("--results", type=Path, default=ROOM / "results", help="another folder for the results")
    given = parser.parse_args(words)
    if given.crop_ready and not given.plain:
        parser.error("--crop-ready needs --plain, the same images packed without --crop-ready")
    for name in ("threads", "batch_size", "rounds", "crop", "epoch"):
        value = getattr(given, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')}={value}: at least 1 is needed")
    for name in ("seconds", "minutes"):
        if (value := getattr(given, name)) is not None and not value > 0:
            parser.error(f"--{name}={value:g}: more than 0 is needed")
    if given.steps is not None and given.steps < 0:
        parser.error(f"--steps={given.steps}: 0, for none, or more is needed")
    return given


def main() -> int:
    given = parse()
    began = time.monotonic()
    if lacking := needs.missing(set(given.without), stand_ins=given.plain is None):
        lacking.append(f"where pip has no network: {needs.OFFLINE}")
        print("\n".join(f"gpu_check: {sentence}" for sentence in lacking), file=sys.stderr)
        return 2
    try:
        if not given.no_build:
            needs.build()
        needs.load()
        device = choose_device(given.device)
        look_at(given.plain, given.crop_ready)
    except (needs.NotReadyError, ValueError, RuntimeError, OSError) as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    for name, (on_gpu, on_cpu) in DEFAULTS.items():
        if getattr(given, name) is None:
            setattr(given, name, on_cpu if device == "cpu" else on_gpu)
    ROOM.mkdir(exist_ok=True)
    # On the disk of the stand-ins: larger datasets are made of links to the shards of those that are measured.
    with tempfile.TemporaryDirectory(dir=ROOM) as scratch:
        return check(given, device, Path(scratch), began + 60 * given.minutes)


def look_at(plain: Path | None, crop_ready: Path | None) -> None:
    """Raises OSError or ValueError for a dataset that does not open, or was packed otherwise than it is said to be."""
    import genimage_stream as gs

    for name, folder, form in (("--plain", plain, False), ("--crop-ready", crop_ready, True)):
        if folder is not None:
            known = (gs.open_dataset(folder).access.info.fields.get("options") or {}).get("crop_ready")
            if known is not None and bool(known) != form:
                raise ValueError(f"{name} {folder} was packed with{'' if known else 'out'} --crop-ready")


def choose_device(wish: str | None) -> str:
    """ "cpu", or "cuda:" and a number. Raises ValueError or RuntimeError for one that is not there."""
    import torch

    from genimage_stream.backends.device import resolve_device

    return str(resolve_device(wish or ("cuda:0" if torch.cuda.is_available() else "cpu")))


def make_setting(given: argparse.Namespace, device: str, originals: dict[str, Path], scratch: Path) -> Setting:
    """The datasets with their rows repeated until an epoch is long enough: a beginning costs every loader something,
    and is not what is to be measured."""
    import genimage_stream as gs
    from benchmarks.growth import make_large

    folders = {}
    for name, folder in originals.items():
        rows = len(gs.open_dataset(folder))
        folders[name] = str(folder if rows >= given.epoch else make_large(folder, scratch / name, given.epoch))
    plain = gs.open_dataset(originals["plain"])
    shards = [str(originals["plain"] / path) for path in plain.access.shards()[1]] * max(
        1, -(-given.epoch // len(plain))
    )
    images = max(given.epoch, len(plain))
    if images < FEW_BATCHES * given.batch_size:
        print(
            f"gpu_check: an epoch of {images:,} images has fewer than {FEW_BATCHES} batches of {given.batch_size}, and "
            "the figures hold its beginning; a larger --epoch repeats the rows more often",
            file=sys.stderr,
        )
    return Setting(device, given.batch_size, given.crop, given.threads, folders, tuple(shards))


def check(given: argparse.Namespace, device: str, scratch: Path, deadline: float) -> int:
    from benchmarks.data import packed
    from benchmarks.gpu import checks
    from benchmarks.gpu.contestants import BEST, CONTESTANTS, TRAINED_LAST, chosen
    from benchmarks.gpu.rounds import Contest, Limits

    if given.plain:
        originals = {"plain": given.plain.resolve()}
        originals |= {"crop-ready": given.crop_ready.resolve()} if given.crop_ready else {}
    else:
        originals = {"plain": packed(), "crop-ready": packed(crop_ready=True)}
    setting = make_setting(given, device, originals, scratch)
    saved = scratch / "setting.json"
    setting.save(saved)
    # A GPU is lent for minutes; CPUs that others use as well may take theirs.
    limits = Limits(deadline, 60, 120, least=30) if setting.on_gpu else Limits(deadline, 600, 600, least=600)
    names = chosen(set(given.without), setting.folders)
    unfit = {name: why for name in names if (why := CONTESTANTS[name].obstacle(setting))}
    names = [name for name in names if name not in unfit]
    with Contest(names, saved, limits, rounds=given.rounds, seconds=given.seconds, steps=given.steps) as contest:
        contest.outcome.unfit = unfit
        book = Book(given, setting, originals, contest.outcome)
        contest.start()
        contest.measure("mixed")
        book.write()
        train(contest, BEST, book)
        book.checked = checks.run(originals, saved, dali="dali" not in given.without, patience=limits.wait())
        book.write()
        for stream in ("reals", "fakes"):
            contest.measure(stream)
            book.write()
        if setting.on_gpu and "crop-ready" in originals:
            if limits.left() > 60:
                book.kernels = own_kernels(originals, setting)
            else:
                contest.outcome.no_time.append("decoding by kernels of our own")
            book.write()
        train(contest, TRAINED_LAST, book)
        book.end()  # before the processes are, which may take its time
    figures = (book.kernels[1] if book.kernels else None) or []
    equal = all(one["equal"] for one in figures if isinstance(one, dict))
    whole = book.checked.correct and contest.outcome.answers.get("mixed") and equal
    return 0 if whole and not contest.outcome.left_out and not contest.outcome.training_failed else 1


def train(contest: Contest, names: Sequence[str], book: Book) -> None:
    for name in names if contest.steps else ():
        contest.train(name)
        book.write()


class Book:
    """What has been found so far, and the results' files, which are written anew each time."""

    def __init__(
        self, given: argparse.Namespace, setting: Setting, originals: dict[str, Path], outcome: Outcome
    ) -> None:
        self._given, self._setting, self._originals, self._outcome = given, setting, originals, outcome
        self.checked = Checked()
        self.kernels: tuple[str, Any] | None = None
        self._said: set[str] = set()

    def write(self) -> str:
        """Says on standard error what has been added; the whole text. What cannot be written now may be later: the
        measurements go on."""
        try:
            sections, markdown = self._write()
        except Exception:
            traceback.print_exc()
            return ""
        for heading, body in sections.items():
            if body not in self._said:
                print(f"\n{heading}\n\n{body}\n", file=sys.stderr, flush=True)
        self._said |= set(sections.values())
        return markdown.read_text()

    def end(self) -> None:
        """All of it to standard output, and the short table."""
        from benchmarks.gpu import report

        print(f"{self.write()}\n{report.short_table(self._outcome, self.checked.correct)}", flush=True)

    def _write(self) -> tuple[dict[str, str], Path]:
        import genimage_stream as gs
        from benchmarks.gpu import report
        from benchmarks.harness import versions, write_results

        given, setting, outcome = self._given, self._setting, self._outcome
        sections = {**report.sections(outcome, on_gpu=setting.on_gpu), **self.checked.sections}
        data = {"setting": {**vars(setting), "folders": list(self._originals), "shards": len(setting.shards)}}
        data |= {**self.checked.data, **report.data(outcome)}
        if self.kernels is not None:
            sections["Decoding by kernels of our own: an experiment"], data["kernels"] = self.kernels
        names = ("genimage-stream", "torch", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "webdataset", "pillow")
        remarks = [
            f"Device: {outcome.gpu or 'no GPU (CPU mode)'}. {setting.crop} crops, batches of {setting.batch_size}, "
            f"{setting.threads} threads or workers. Every contestant runs in a process of its own and has turns of "
            f"{given.seconds:g} s; what lay ready before does not count, what is only queued on the GPU neither. "
            "Ratios are medians of those within a round, with their range. An epoch has "
            f"{max(given.epoch, len(gs.open_dataset(self._originals['plain']))):,} images, if need be the same ones "
            "repeated.",
        ]
        if given.without:
            remarks.append(f"Left out by --without: {', '.join(given.without)}.")
        markdown, _ = write_results(
            "gpu" if setting.on_gpu else "gpu-check-cpu-mode",
            "The loader on a GPU" if setting.on_gpu else "The GPU check in CPU mode",
            sections,
            data,
            package_versions=versions(*names),
            remarks=remarks,
            folder=RESULTS if given.record else given.results,
        )
        return sections, markdown


def own_kernels(folders: dict[str, Path], setting: Setting, *words: str, patience: float = 120) -> tuple[str, Any]:
    """The section and the figures. In a process of its own: a kernel that goes wrong takes CUDA with it."""
    from benchmarks.gpu import report

    command = [sys.executable, "-m", "experiments.gpu_decode.measure", str(folders["crop-ready"]), *words]
    command += [f"--{name}={getattr(setting, name)}" for name in ("device", "threads", "crop")]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        try:
            code = subprocess.run(
                command, cwd=needs.ROOT, stdout=out, stderr=log, check=False, timeout=patience
            ).returncode
            why = f"the process ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            why = f"no end within {patience:.0f} s"
        out.seek(0)
        log.seek(0)
        found = [json.loads(line) for line in out if line.endswith("\n")]  # of the kinds that it came to
        said = log.read().strip().splitlines()
    if why:
        print("\n".join(["gpu_check: decoding by kernels of our own:", *said[-12:]]), file=sys.stderr, flush=True)
        errors = [line for line in said if "Error" in line][-1:] or said[-1:]
        found.append(": ".join([why, *errors]))
    return report.kernels_table(found, setting.threads), found


if __name__ == "__main__":
    sys.exit(main())
