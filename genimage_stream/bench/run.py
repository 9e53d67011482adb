"""Measure storage, decoding and loading of one dataset on this machine, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from genimage_stream import schema
from genimage_stream.addresses import shown
from genimage_stream.bench import memory
from genimage_stream.bench.machine import Machine, describe
from genimage_stream.bench.options import BenchError, Options
from genimage_stream.bench.rate import Rate
from genimage_stream.remedies import sentence
from genimage_stream.resources import cores

if TYPE_CHECKING:
    from genimage_stream.bench.peers.league import League
    from genimage_stream.bench.reading import Storage
    from genimage_stream.bench.verdict import Verdict
    from genimage_stream.dataset.dataset import Dataset

TURNS = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Results:
    """Everything that was measured; `decode` and `end_to_end` by number of threads.

    `cached_share_during`: the share of the samples that the fastest number of threads found in the page cache.
    `peers`: other loaders beside this one, if they were asked for.
    `first_batch_seconds`: from opening the dataset to the first batch, the modules being imported already.
    """

    path: str
    samples: int
    bytes_per_sample: float
    crop_ready: bool
    options: Options
    machine: Machine
    storage: Storage
    decode: dict[int, Rate]
    end_to_end: dict[int, Rate]
    first_batch_seconds: float
    cached_share_during: float | None
    skipped: int
    verdict: Verdict
    notes: list[str]
    peers: League | None = None

    def plain(self) -> dict[str, Any]:
        """As one object for JSON; speeds in images and bytes per second."""
        return asdict(self)


def steps(options: Options) -> int:
    """How many lines `run` gives to `say`: storage, the first batch, memory; then two in each turn of each number of
    threads; then those of the other loaders, if they are asked for."""
    found = 3 + 2 * TURNS * len(options.threads)
    if options.peers:
        from genimage_stream.bench.peers import league

        found += league.steps()
    return found


def check(options: Options) -> None:
    """Raises BenchError for invalid options."""
    if not 0 < options.seconds <= 3600:
        raise BenchError(f"--seconds {options.seconds:g}: more than 0, at most 3600; the default is 5")
    for name, value in (("crop", options.crop), ("batch-size", options.batch_size)):
        if value < 1:
            raise BenchError(f"--{name} {value}: at least 1")
    options.geometry()
    if options.peers:
        from genimage_stream.bench.peers import league

        league.check(options)
    if not options.threads or min(options.threads) < 1:
        raise BenchError("--threads: write numbers from 1 up, separated by commas, e.g. 1,2,4")
    if too_much := memory.obstacle(options, cores(), memory.available_bytes()):
        raise BenchError(too_much)


def check_device(device: str | None) -> None:
    """Raises BenchError when there is no such device, before anything is measured."""
    import torch

    if device is None:
        return
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise BenchError(f"--device {device}: write cpu, cuda, or cuda:0 for the first GPU") from None
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise BenchError(
            f"--device {device}: PyTorch finds {count or 'no'} GPU{'s' if count > 1 else ''} here; omit it"
        )


def open_for(path: str, options: Options) -> Dataset:
    """The dataset, or the requested part of it. Raises BenchError when it is missing or not finished."""
    from genimage_stream.dataset.opening import open_dataset

    try:
        dataset = open_dataset(path, cache_dir=options.cache_dir)
        dataset = dataset.select(generators=options.generators, splits=options.splits)
    except (OSError, ValueError, ImportError) as error:
        raise BenchError(sentence(error)) from error
    if not len(dataset):
        raise BenchError(f"{path}: no samples are left to measure; choose other --generators or --splits")
    return dataset


def run(path: str, options: Options, say: Say = lambda line: None) -> Results:
    """Measure; `say` gets a line before each step. Raises BenchError with one sentence for whatever prevents that."""
    check(options)
    dataset = open_for(path, options)
    try:
        check_device(options.device)
        return _run(path, dataset, options, say)
    except (OSError, ValueError, ImportError, RuntimeError, MemoryError) as error:
        raise BenchError(sentence(error)) from error


def _run(path: str, dataset: Dataset, options: Options, say: Say) -> Results:
    from genimage_stream.bench.loading import first_batch_seconds, in_memory
    from genimage_stream.bench.reading import measure_storage
    from genimage_stream.bench.verdict import judge

    machine = describe(dataset.access.store.local_path(schema.DATASET_FILE))
    notes = _notes(machine, options.threads)
    most = max(options.threads)
    say("storage alone")
    storage = measure_storage(dataset, seconds=options.seconds, threads=most, seed=options.seed)
    shuffles = {"full": True, "none": False}  # True also for recipes of whole images, which refuse "full"
    loader = {
        "batch_size": options.batch_size,
        **options.geometry(),
        "output": options.output,
        "shuffle": shuffles.get(options.shuffle, options.shuffle),
        "backend": options.backend,
        "device": options.device,
        "seed": options.seed,
    }
    say("time to the first batch")
    first_batch = first_batch_seconds(lambda: open_for(path, options), threads=most, **loader)
    say("reading samples into memory")
    held = in_memory(dataset, options.seed)
    decode, end_to_end, shares, skipped = _speeds(path, dataset, held, options, loader, say)
    peers = None
    if options.peers:
        from genimage_stream.bench.peers import league

        peers = league.measure(dataset, path, options, say)
    best = max(end_to_end, key=lambda t: end_to_end[t].images_per_second)
    share = shares[best]
    crop_ready = dataset.access.info.crop_ready
    verdict = judge(
        storage=_storage_met(storage, share, options.shuffle),
        decode=decode[best].images_per_second,
        end_to_end=end_to_end[best].images_per_second,
        alike=decode[best].lowest <= end_to_end[best].highest and end_to_end[best].lowest <= decode[best].highest,
        threads=best,
        most=most,
        cores=cores(),
        crop_ready=crop_ready,
        remote=not storage.threads,
        cached=share,
    )
    if skipped:
        notes.append(
            f"{skipped:,} images did not decode and were skipped: see `shard-tools verify --decode {shown(path)}`."
        )
    mean = float(dataset.access.take(dataset.access.columns.numbers("size")[0]).mean())
    return Results(
        path=shown(path),
        samples=len(dataset),
        bytes_per_sample=mean,
        crop_ready=crop_ready,
        options=options,
        machine=machine,
        storage=storage,
        decode=decode,
        end_to_end=end_to_end,
        first_batch_seconds=first_batch,
        cached_share_during=share,
        skipped=skipped,
        verdict=verdict,
        notes=[*notes, *storage.notes],
        peers=peers,
    )


def _speeds(
    path: str, dataset: Dataset, held: Dataset, options: Options, loader: dict[str, Any], say: Say
) -> tuple[dict[int, Rate], dict[int, Rate], dict[int, float | None], int]:
    """By number of threads: the speeds of decoding `held` from memory, those end to end, and the share of samples that
    was in the page cache then; and the number of images that did not decode."""
    from genimage_stream.bench.loading import Loading
    from genimage_stream.bench.reading import cached_share

    # Each number of threads has its own order: otherwise it would find the samples that another just brought into the
    # page cache, and the cached share that is measured would not be the one that it meets.
    seeds = {threads: options.seed + number for number, threads in enumerate(options.threads)}
    decoding = {n: Loading(held, threads=n, **{**loader, "seed": seed}) for n, seed in seeds.items()}
    loading = {n: Loading(dataset, threads=n, **{**loader, "seed": seed}) for n, seed in seeds.items()}
    shares: dict[int, list[float]] = {threads: [] for threads in seeds}
    for turn in range(TURNS):  # interleaved: other load on the machine affects all alike
        for threads in seeds:
            said = f"threads: {threads}, turn {turn + 1} of {TURNS}"
            say(f"decode, {said}")
            decoding[threads].turn(options.seconds / TURNS)
            say(f"end to end, {said}")
            # Of the same samples for all in a turn; this does not read them.
            if (share := cached_share(dataset, seed=options.seed + turn)) is not None:
                shares[threads].append(share)
            loading[threads].turn(options.seconds / TURNS)
    skipped = 0

    def rates(measured: dict[int, Loading]) -> dict[int, Rate]:
        nonlocal skipped
        found = {}
        for threads, one in measured.items():
            rate, failed = one.close()
            if rate is None:
                raise BenchError(f"{path}: no image could be decoded; `shard-tools verify --decode {path}` says why")
            found[threads] = rate
            skipped += failed
        return found

    met = {threads: sum(known) / len(known) if known else None for threads, known in shares.items()}
    return rates(decoding), rates(loading), met, skipped


def _storage_met(storage: Storage, share: float | None, shuffle: str) -> float:
    """Images per second of storage for a run that finds this share of the samples in the page cache."""
    direct = storage.sequential if shuffle != "full" and storage.sequential is not None else storage.random
    speeds = [rate.images_per_second for rate in (direct, storage.cached) if rate is not None]
    if not speeds:
        return float("inf")
    share = 0.0 if share is None or storage.cached is None else share
    return 1 / ((1 - share) / speeds[0] + share / speeds[-1])


def _notes(machine: Machine, threads: tuple[int, ...]) -> list[str]:
    notes = []
    count = machine.cores
    if count == 1:
        shared = "This machine has one core, which the consumer and the decoder share"
        notes.append(f"{shared}: only one thread is measured." if threads == (1,) else f"{shared}.")
    if machine.load > 0.5 * count:
        words = "1 core" if count == 1 else f"{count} cores"
        notes.append(
            f"Other programs were running at the start (load {machine.load:g} on {words}): "
            "the figures are lower than those of an idle machine."
        )
    return notes
