"""Correctness and throughput on a machine with an NVIDIA GPU, in one command:

    python -m benchmarks.gpu_check                                  # on stand-ins, which it makes and packs first
    python -m benchmarks.gpu_check --plain DST --crop-ready DST2    # the same images, without and with --crop-ready

It builds the extension where that is missing or older than its sources, compares GPU and CPU pixels, measures this
loader beside DALI's own webdataset reader and webdataset + Pillow (all images, reals alone, fakes alone; each in a
process of its own, in turns), reads the GPU's and the CPUs' use meanwhile and trains a ResNet-50 from the streams. The
results (gpu) go to .bench/results, or with --record to benchmarks/results; a short table comes last. Everything fits
into ten minutes. Without a GPU, or with --device cpu, it runs in CPU mode, and the results are gpu-check-cpu-mode.

Exit code 2: something is missing, and what to install is said. 1: pixels differ that must not, or a contestant gave up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # python benchmarks/gpu_check.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environments import ROOM
from benchmarks.gpu import needs
from benchmarks.gpu.setting import Setting
from benchmarks.harness import RESULTS

#: What most settings are without being asked for: on a GPU, in CPU mode.
DEFAULTS = {"batch_size": (256, 64), "seconds": (3.0, 1.5), "rounds": (4, 3), "steps": (60, 0)}
FEW_BATCHES = 100  # an epoch below this is mostly its own beginning


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", type=Path, help="a packed dataset")
    parser.add_argument("--crop-ready", type=Path, help="the same images packed with --crop-ready")
    parser.add_argument("--device", help="cuda:1, say, or cpu; by default the first GPU if there is one")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, help="256; 64 in CPU mode")
    parser.add_argument("--seconds", type=float, help="of a contestant's turn: 3; 1.5 in CPU mode")
    parser.add_argument("--rounds", type=int, help="4; 3 in CPU mode")
    parser.add_argument("--steps", type=int, help="of training: 60; none in CPU mode")
    parser.add_argument("--epoch", type=int, default=50_000, help="rows of smaller datasets are repeated up to this")
    parser.add_argument("--minutes", type=float, default=7.5, help="after these no round begins but the first")
    parser.add_argument("--without", nargs="*", default=[], choices=list(needs.PEERS), help="packages to do without")
    parser.add_argument("--no-build", action="store_true", help="take the extension as it is")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--record", action="store_true", help="write to benchmarks/results")
    where.add_argument("--results", type=Path, default=ROOM / "results", help="another folder for the results")
    given = parser.parse_args(words)
    if given.crop_ready and not given.plain:
        parser.error("--crop-ready needs --plain, the same images packed without --crop-ready")
    for name in ("threads", "batch_size", "rounds", "crop"):
        value = getattr(given, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')}={value}: at least 1 is needed")
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
    except (needs.NotReadyError, ValueError, RuntimeError) as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    for name, (on_gpu, on_cpu) in DEFAULTS.items():
        if getattr(given, name) is None:
            setattr(given, name, on_cpu if device == "cpu" else on_gpu)
    with tempfile.TemporaryDirectory() as scratch:
        return check(given, device, Path(scratch), began + 60 * given.minutes)


def choose_device(wish: str | None) -> str:
    """ "cpu", or "cuda:" and a number. Raises ValueError or RuntimeError for one that is not there."""
    import torch

    from genimage_stream.dali import resolve_device

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
    shards = [str(originals["plain"] / path) for path in plain.shards()[1]] * max(1, -(-given.epoch // len(plain)))
    images = max(given.epoch, len(plain))
    if images < FEW_BATCHES * given.batch_size:
        print(
            f"gpu_check: an epoch of {images:,} images has fewer than {FEW_BATCHES} batches of {given.batch_size}, and "
            "the figures hold its beginning; a larger --epoch repeats the rows more often",
            file=sys.stderr,
        )
    return Setting(device, given.batch_size, given.crop, given.threads, folders, tuple(shards))


def check(given: argparse.Namespace, device: str, scratch: Path, deadline: float) -> int:
    import genimage_stream as gs
    from benchmarks.data import packed
    from benchmarks.gpu import report, rounds
    from benchmarks.gpu.contestants import chosen
    from benchmarks.harness import versions, write_results
    from genimage_stream.fidelity_report import as_table

    if given.plain:
        originals = {"plain": given.plain.resolve()}
        originals |= {"crop-ready": given.crop_ready.resolve()} if given.crop_ready else {}
    else:
        originals = {"plain": packed(), "crop-ready": packed(crop_ready=True)}
    setting = make_setting(given, device, originals, scratch)
    sections: dict[str, str] = {}
    data: dict[str, Any] = {"setting": {**vars(setting), "folders": list(originals), "shards": len(setting.shards)}}
    correct = copies_are_equal(gs.open_dataset(originals["plain"]), setting)
    sections["Decoded on the CPU, copied to the device"] = "bit-equal" if correct else "DIFFERENT: this is a defect"
    for name, folder in originals.items() if "dali" not in given.without else ():
        streams = gs.fidelity(gs.open_dataset(folder), crop=setting.crop, device=device, samples=1024)
        sections[f"Pixels against the CPU's, {name} shards"] = as_table(streams)
        data[f"fidelity_{name}"] = [vars(stream) for stream in streams]
        # PNGs are decoded by the same code everywhere, and without a GPU JPEGs by its equal.
        jpegs = gs.open_dataset(folder).select(formats=["jpeg"]).counts() if setting.on_gpu else {}
        by_gpu = {"real" if label == "real" else generator for generator, _, label in jpegs}
        correct &= all(stream.largest == 0 for stream in streams if stream.stream not in by_gpu)

    setting.save(scratch / "setting.json")
    outcome = rounds.run(
        chosen(set(given.without), setting.folders),
        scratch / "setting.json",
        rounds=given.rounds,
        seconds=given.seconds,
        steps=given.steps,
        deadline=deadline,
        patience=150 if setting.on_gpu else 600,  # a GPU is lent for minutes
    )
    if setting.on_gpu and "crop-ready" in originals:
        sections["Decoding by kernels of our own: an experiment"], data["kernels"] = own_kernels(originals, setting)
    names = ("genimage-stream", "torch", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "webdataset", "pillow")
    remarks = [
        f"Device: {outcome.gpu or 'no GPU (CPU mode)'}. {setting.crop} crops, batches of {setting.batch_size}, "
        f"{setting.threads} threads or workers. Every contestant runs in a process of its own and has turns of "
        f"{given.seconds:g} s; what lay ready before a turn does not count, what is only queued on the GPU neither. "
        "Ratios are medians of those within a round, with their range. An epoch has "
        f"{max(given.epoch, len(gs.open_dataset(originals['plain']))):,} images, if need be the same ones repeated.",
    ]
    if given.without:
        remarks.append(f"Left out by --without: {', '.join(given.without)}.")
    markdown, _ = write_results(
        "gpu" if setting.on_gpu else "gpu-check-cpu-mode",
        "The loader on a GPU" if setting.on_gpu else "The GPU check in CPU mode",
        {**report.sections(outcome, on_gpu=setting.on_gpu), **sections},
        {**data, **report.data(outcome)},
        package_versions=versions(*names),
        remarks=remarks,
        folder=RESULTS if given.record else given.results,
    )
    print(f"{markdown.read_text()}\n{report.short_table(outcome, correct)}", flush=True)
    return 0 if correct and not outcome.left_out else 1


def own_kernels(folders: dict[str, Path], setting: Setting) -> tuple[str, Any]:
    """The section and the figures. In a process of its own: a kernel that goes wrong takes CUDA with it."""
    from benchmarks.gpu import report

    command = [sys.executable, "-m", "benchmarks.gpu.kernels.measure", str(folders["crop-ready"])]
    command += [f"--{name}={getattr(setting, name)}" for name in ("device", "threads", "crop")]
    try:
        done = subprocess.run(command, cwd=needs.ROOT, capture_output=True, text=True, check=True, timeout=120)
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError) as error:
        stderr = getattr(error, "stderr", None)
        said = (stderr if isinstance(stderr, str) and stderr.strip() else str(error)).strip()
        return f"Not measured: {said.splitlines()[-1]}", None
    return report.kernels_table(found, setting.threads), found


def copies_are_equal(dataset: Any, setting: Setting) -> bool:
    import torch

    import genimage_stream as gs

    options: dict[str, Any] = {"crop": setting.crop, "output": "float32", "on_error": "skip"}
    host, device = gs.Loader(dataset, 64, **options), gs.Loader(dataset, 64, device=setting.device, **options)
    pairs = zip(range(4), host, device, strict=False)
    return all(torch.equal(a.images, b.images.cpu()) for _, a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
