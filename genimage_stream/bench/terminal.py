"""The figures of a benchmark as lines for a terminal or a file."""

from __future__ import annotations

from collections.abc import Iterator

from genimage_stream.bench import answer
from genimage_stream.bench.peers.league import League
from genimage_stream.bench.rate import Rate
from genimage_stream.bench.run import Results
from genimage_stream.page.scales import number, size


def lines(results: Results) -> Iterator[str]:
    """What `genimage-stream bench` prints without --json."""
    options, machine = results.options, results.machine
    yield f"{results.path}: {number(results.samples)} samples, {size(results.bytes_per_sample)} each on average"
    asked = f"{options.shown()}, batches of {options.batch_size}, {options.output}"
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    yield f"{machine.cpu}, {cores}; {asked}"
    yield ""
    yield f"{'':34} {'images/s':>9} {'(lowest to highest)':>21} {'read':>11}"
    storage = results.storage
    readers = f"{storage.threads} reader{'s' if storage.threads > 1 else ''}" if storage.threads else "many requests"
    yield from _line(f"storage, random, {readers}", storage.random)
    yield from _line(f"storage, page cache, {readers}", storage.cached)
    yield from _line("storage, sequential, 1 reader", storage.sequential)
    for name, rates in (("decoding from memory", results.decode), ("end to end", results.end_to_end)):
        for threads, rate in rates.items():
            yield from _line(f"{name}, {threads} thread{'s' if threads > 1 else ''}", rate)
    yield f"{'first batch after':34} {results.first_batch_seconds:>9.2f} s"
    yield ""
    best = max(rate.images_per_second for rate in results.end_to_end.values())
    yield answer.sentence(best, results.samples)
    yield results.verdict.sentence
    yield from results.notes
    if results.peers is not None:
        yield ""
        yield from _league(results.peers)


def _league(league: League) -> Iterator[str]:
    each = f"{league.workers} thread{'s' if league.workers > 1 else ''} or worker{'s' if league.workers > 1 else ''}"
    yield f"{f'beside other loaders, {each} each':50} {'images/s':>9} {'(lowest to highest)':>21}"
    for one in league.standings:
        yield f"{one.title:50} {one.images_per_second:>9,.0f} {f'({one.lowest:,.0f} to {one.highest:,.0f})':>21}"
    for title, why in league.left_out.items():
        yield f"{title}: {why}"
    yield league.sentence


def _line(name: str, rate: Rate | None) -> Iterator[str]:
    if rate is not None:
        spread = f"({rate.lowest:,.0f} to {rate.highest:,.0f})"
        read = f"{size(rate.bytes_per_second)}/s"
        yield f"{name:34} {rate.images_per_second:>9,.0f} {spread:>21} {read:>11}"
