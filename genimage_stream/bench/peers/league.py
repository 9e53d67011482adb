"""This project's loader and others that are installed here take turns on the same shards: `bench --peers`."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from genimage_stream.bench.options import BenchError, Options
from genimage_stream.bench.peers.work import Work
from genimage_stream.bench.process import ContestantError, Process

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset

TURNS = 3
OURS = "genimage-stream"
PARTS = ("simplejpeg", "kornia_rs")
#: The distributions that pip installs, by the module that is imported.
DISTRIBUTIONS = {"simplejpeg": "simplejpeg", "kornia_rs": "kornia-rs", "webdataset": "webdataset", "PIL": "pillow"}
START_SECONDS = 300.0  # to import, and to read the index
REST_SECONDS = 60.0  # to fill the queues after a turn
CLOSE_SECONDS = 5.0
# The process has this one's import path: with `-m`, it would begin with the folder that it is started in.
CHILD = "import sys; sys.path[:] = sys.argv[3:]; from genimage_stream.bench.peers.serve import main; main()"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as another: the median of the ratios within each round, and their range."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Standing:
    """One loader: images per second, the median of its turns and their range; `ours_times`: this project's loader as
    a multiple of it."""

    title: str
    images_per_second: float
    lowest: float
    highest: float
    versions: dict[str, str]
    ours_times: Ratio


@dataclass(frozen=True)
class League:
    """`standings`: the fastest first, ours among them. `left_out`: by title the reason, with the line for pip."""

    workers: int
    turns: int
    seconds: float
    standings: list[Standing]
    left_out: dict[str, str]
    sentence: str


class Entry(NamedTuple):
    name: str  # as `serve.open_stream` knows it
    title: str
    modules: tuple[str, ...]


def installed(module: str) -> bool:
    return find_spec(module) is not None


def entries() -> tuple[list[Entry], dict[str, str]]:
    """The other loaders that can run here; and by title, what is missing for those that cannot, or would be faster."""
    fast = tuple(part for part in PARTS if installed(part)) or PARTS
    named = ", ".join(DISTRIBUTIONS[part] for part in fast)
    found = [
        Entry("dataloader_fastest", f"DataLoader + {named}", (*fast, "PIL")),
        Entry("webdataset_fastest", f"webdataset + {named}", ("webdataset", *fast, "PIL")),
        Entry("webdataset_pillow", "webdataset + Pillow", ("webdataset", "PIL")),
    ]
    if not installed("webdataset"):
        found.append(Entry("dataloader_pillow", "DataLoader + Pillow", ("PIL",)))
    left_out = {
        DISTRIBUTIONS[part]: f"Pillow decodes in its place; `pip install {DISTRIBUTIONS[part]}` makes the peers faster"
        for part in PARTS
        if part not in fast
    }
    for one in found:
        if missing := [DISTRIBUTIONS[module] for module in one.modules if not installed(module)]:
            left_out[one.title] = f"not installed: `pip install {' '.join(missing)}`"
    return [one for one in found if one.title not in left_out], left_out


def steps() -> int:
    """How many lines `measure` gives to `say`."""
    return (1 + len(entries()[0])) * (1 + TURNS)


def check(options: Options) -> None:
    """Raises BenchError for options that the other loaders do not have."""
    refused = {
        "--transform": options.transform is not None,
        "--shuffle": options.shuffle != "full",
        "--backend": options.backend != "cpu",
        "--device": options.device not in (None, "cpu"),
    }
    for name, given in refused.items():
        if given:
            raise BenchError(
                f"--peers beside {name}: the other loaders give shuffled crops, decoded by the CPU, in host memory; "
                "omit one of the two"
            )


def measure(dataset: Dataset, path: str, options: Options, say: Say) -> League:
    """Let all take their turns, each with as many workers as the largest of `options.threads`. Raises BenchError when
    the shards are not on a local disk, or our own loader fails."""
    others, left_out = entries()
    contestants = [Entry("ours", OURS, ()), *others]
    turns: dict[str, list[float]] = {}
    seconds = options.seconds / TURNS
    with tempfile.TemporaryDirectory(prefix="genimage-stream-bench-") as scratch:
        folder = Path(scratch)
        work = _work(dataset, path, options, folder)
        running: dict[str, Process] = {}
        try:
            for number, one in enumerate(contestants):
                say(f"peers: starting {one.title}")
                file = folder / f"{one.name}.json"
                replace(work, seed=options.seed + number).save(file)  # orders of their own, as for threads
                command = [sys.executable, "-c", CHILD, one.name, str(file), *sys.path]
                running[one.title] = Process(one.title, command, folder / f"{one.name}.log")
                try:
                    running[one.title].answer(START_SECONDS)
                    _turn(running[one.title], 0.0)  # fills queues and shows that the work is done
                    turns[one.title] = []
                except ContestantError as error:
                    left_out[one.title] = _reason(error, running[one.title])
            for number in range(TURNS):
                order = list(turns)
                random.Random(number).shuffle(order)
                for title in order:
                    say(f"peers: {title}, turn {number + 1} of {TURNS}")
                    try:
                        turns[title].append(_turn(running[title], seconds))
                    except ContestantError as error:
                        left_out[title] = _reason(error, running[title])
                        del turns[title]
        finally:
            Process.close_all([*running.values()], CLOSE_SECONDS)
    if OURS not in turns:
        raise BenchError(f"--peers: {left_out[OURS]}")
    return _league(contestants, turns, left_out, work.workers, options.seconds)


def _work(dataset: Dataset, path: str, options: Options, folder: Path) -> Work:
    access = dataset.access
    codes, names = access.shards()
    used, shard = np.unique(access.take(codes), return_inverse=True)
    places = [access.store.local_path(names[code]) for code in used.tolist()]
    shards = tuple(str(Path(place).absolute()) for place in places if place is not None)
    if len(shards) < len(places):
        raise BenchError("--peers: the other loaders read shards on a local disk: copy them to one, or omit --peers")
    offset, size = (access.take(column) for column in access.columns.numbers("offset", "size"))
    samples = folder / "samples.npz"
    np.savez(samples, shard=shard, offset=offset, size=size, label=access.take(access.targets()[0]))
    return Work(
        dataset=str(Path(path).absolute()),
        generators=options.generators,
        splits=options.splits,
        shards=shards,
        samples=str(samples),
        crop=options.crop,
        batch_size=options.batch_size,
        workers=max(options.threads),
        output=options.output,
        seed=options.seed,
        parts=tuple(part for part in PARTS if installed(part)),
    )


def _turn(process: Process, seconds: float) -> float:
    """Images per second of one turn, which ends when its process is idle: some fetch ahead for their next one."""
    answer = process.ask(START_SECONDS + 20 * seconds, do="turn", seconds=seconds)
    process.rests(REST_SECONDS)
    return float(answer["images"] / answer["seconds"])


def _reason(error: ContestantError, process: Process) -> str:
    said = process.last_words()[-1:]
    return str(error) if error.alive or not said else f"{error}; it said last: {said[0]}"


def _league(
    contestants: Sequence[Entry], turns: dict[str, list[float]], left_out: dict[str, str], workers: int, seconds: float
) -> League:
    standings = []
    for one in contestants:
        if one.title in turns:
            rates = turns[one.title]
            ratios = [mine / theirs for mine, theirs in zip(turns[OURS], rates, strict=True)]
            times = Ratio(statistics.median(ratios), min(ratios), max(ratios))
            distributions = [DISTRIBUTIONS[module] for module in one.modules] or [OURS]
            versions = {name: metadata.version(name) for name in (*distributions, "torch")}
            standings.append(Standing(one.title, statistics.median(rates), min(rates), max(rates), versions, times))
    standings.sort(key=lambda one: -one.images_per_second)
    return League(workers, TURNS, seconds, standings, left_out, _sentence(standings))


def _sentence(standings: Sequence[Standing]) -> str:
    """The ratio to the best of the others first, to webdataset + Pillow, or else DataLoader + Pillow, second."""
    others = [one for one in standings if one.title != OURS]
    if not others:
        return "No other loader could be measured here."
    usual = [one for one in others[1:] if one.title.endswith("+ Pillow")]
    said = [f"{_times(one.ours_times)} as fast as {one.title}" for one in (others[0], *usual)]
    return f"{OURS} is {said[0]}, the fastest of the others here{f', and {said[1]}' if usual else ''}."


def _times(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} times ({ratio.lowest:.2f} to {ratio.highest:.2f})"
