"""The figures of a benchmark as one HTML page."""

from __future__ import annotations

from genimage_stream.bench import answer
from genimage_stream.bench.peers.league import OURS, League
from genimage_stream.bench.rate import Rate
from genimage_stream.bench.run import TURNS, Results
from genimage_stream.page import charts, html
from genimage_stream.page.html import Section
from genimage_stream.page.scales import NONE, number, percent, size

BOTTLENECKS = {"storage": "Storage", "decode": "Decoding", "other": "Neither alone"}


def render(results: Results) -> str:
    """The whole document."""
    best = max(results.end_to_end.values(), key=lambda rate: rate.images_per_second)
    speed = best.images_per_second
    facts = [
        ("Images/s end to end", number(round(speed))),
        ("An epoch of these samples", answer.duration(results.samples / speed)),
        ("Bottleneck", BOTTLENECKS[results.verdict.bottleneck]),
        ("First batch after", f"{results.first_batch_seconds:.2f} s"),
        ("Samples", number(results.samples)),
        ("Cores", results.machine.cores),
        ("Images", results.options.shown()),
    ]
    lead = f'<p class="lead">{html.text(answer.sentence(speed, results.samples))}</p>{html.facts(facts)}'
    lead += html.note(html.text(results.verdict.sentence))
    lead += "".join(html.note(html.text(note)) for note in results.notes)
    version = results.machine.genimage_stream
    return html.page(
        f"Loading {results.path.rstrip('/').rsplit('/', 1)[-1]} on this machine",
        lead=lead,
        sections=[
            _answers(results, speed),
            _speeds(results),
            *([_league(results.peers)] if results.peers is not None else []),
            _storage(results),
            _conditions(results),
        ],
        footer=f"Made by genimage-stream bench {version} on {results.path}.",
    )


def _answers(results: Results, speed: float) -> Section:
    options = results.options
    return Section("Is this enough for my GPU?").add(
        html.paragraph(
            "Time a training step of your model on random images: its batch size divided by the seconds of a step is",
            "the speed that it needs. Where that is more than the images per second here, the GPU waits for data.",
        ),
        html.pair(
            html.table(
                "GPUs that this machine feeds",
                ("A GPU that trains at", "Such GPUs that do not wait"),
                answer.fed(speed),
            ),
            html.table(
                f"Shortest epoch at this speed, {options.shown()}, {options.output}",
                ("Images", "Number", "Time"),
                answer.epochs(speed, results.samples),
                numeric=(1, 2),
            ),
        ),
    )


def _speeds(results: Results) -> Section:
    threads = list(results.end_to_end)
    series = [
        _series("decoding", "third", results.decode, dash=True),
        _series("end to end", "real", results.end_to_end),
    ]
    chart = charts.lines(
        "Images per second",
        "Lines over the number of threads: decoding from memory, and end to end; the table holds the numbers.",
        threads,
        series,
        x_label="threads of the decoder",
        write=lambda v: number(round(v)),
    )
    most = max(threads)
    bars = [
        ("storage", results.storage.random),
        ("page cache", results.storage.cached),
        ("decoding", results.decode[most]),
        ("end to end", results.end_to_end[most]),
    ]
    compared = charts.bars(
        "Images per second",
        f"Horizontal bars with {most} threads: storage, page cache, decoding, end to end; the table holds the numbers.",
        [(name, [rate.images_per_second]) for name, rate in bars if rate is not None],
        ["third"],
        write=lambda v: number(round(v)),
    )
    rows = []
    for name, rates in (("decoding from memory", results.decode), ("end to end", results.end_to_end)):
        first = rates[min(rates)].images_per_second / min(rates)
        for count, rate in rates.items():
            rows.append((name, count, *_figures(rate), f"{rate.images_per_second / first:.2f}"))
    columns = ("What", "Threads", "Images/s", "Lowest", "Highest", "Read", "Times one thread")
    return Section("Speed").add(
        html.paragraph(
            "Decoding from memory and loading end to end are the same loader with the same options; between the two",
            "lies storage. Speeds are medians over slices of the time, in turns that alternate; thin",
            "lines span the slowest to the fastest slice.",
        ),
        html.pair(
            html.figure(
                "Images per second by threads",
                chart,
                legend=[("third", "decoding from memory (broken line)"), ("real", "end to end")],
            ),
            html.figure(f"Each part alone, {most} thread{'s' if most > 1 else ''}", compared),
        ),
        html.table("Decoding and loading", columns, rows, numeric=range(1, 7), cards=True),
    )


def _league(league: League) -> Section:
    rows = []
    for one in league.standings:
        figures = (number(round(v)) for v in (one.images_per_second, one.lowest, one.highest))
        times, versions = one.ours_times, ", ".join(f"{name} {version}" for name, version in one.versions.items())
        ratio = f"{times.median:.2f} ({times.lowest:.2f} to {times.highest:.2f})"
        rows.append((one.title, *figures, NONE if one.title == OURS else ratio, versions))
    columns = ("Loader", "Images/s", "Lowest", "Highest", f"{OURS} is times as fast", "Versions")
    section = Section("Beside other loaders").add(
        html.paragraph(
            league.sentence,
            f"Each ran in a process of its own with {league.workers} threads or workers and did the same work on the",
            "same shards: random crops, mirrored half of the time, in batches.",
            f"Speeds are medians over {league.turns} turns that alternate, ratios are taken within each round.",
        ),
        html.table("The same work by other loaders", columns, rows, numeric=range(1, 5), cards=True),
    )
    if league.left_out:
        section.add(html.table("Not measured, or not at its best", ("What", "Why"), league.left_out.items()))
    return section


def _series(name: str, css: str, rates: dict[int, Rate], *, dash: bool = False) -> charts.Series:
    spread = [(rate.lowest, rate.highest) for rate in rates.values()]
    return charts.Series(name, css, [rate.images_per_second for rate in rates.values()], dash, spread)


def _figures(rate: Rate) -> tuple[str, str, str, str]:
    speeds = (number(round(v)) for v in (rate.images_per_second, rate.lowest, rate.highest))
    return (*speeds, f"{size(rate.bytes_per_second)}/s")  # type: ignore[return-value]


def _storage(results: Results) -> Section:
    storage = results.storage
    readers = {0: "as many requests as the loader keeps", 1: "one reader"}.get(
        storage.threads, f"{storage.threads} at once"
    )
    named = (
        (f"random samples, {readers}", storage.random),
        (f"the same from the page cache, {readers}", storage.cached),
        ("whole shards front to back, one reader", storage.sequential),
    )
    rows = [(name, *(_figures(rate) if rate else [NONE] * 4)) for name, rate in named]
    section = Section("Storage alone").add(
        html.paragraph(
            "The bytes of samples, read and discarded. Before a timed read they are dropped from the page cache of",
            "the operating system; a second read of the same bytes shows what that cache gives. Caches of the disk",
            "itself, or of a host below a virtual machine, are not emptied.",
        ),
        html.table(
            "Reading without decoding",
            ("What", "Images/s", "Lowest", "Highest", "Read"),
            rows,
            numeric=range(1, 5),
            cards=True,
        ),
    )
    for name, share in (
        ("Before the benchmark", storage.cached_share),
        ("During the turns", results.cached_share_during),
    ):
        if share is not None:
            section.add(html.paragraph(f"{name}, {percent(share)} of the samples were in the page cache."))
    return section


def _conditions(results: Results) -> Section:
    machine, options = results.machine, results.options
    memory = machine.memory_bytes
    rows = [
        ("Dataset", results.path),
        ("Stored bytes per sample", size(results.bytes_per_sample)),
        ("Packed crop-ready", "yes" if results.crop_ready else "no"),
        ("Processor", machine.cpu),
        ("Cores for this process", machine.cores),
        ("Memory", size(memory) if memory else NONE),
        ("GPU", machine.gpu or "none, and none is needed"),
        ("File system", machine.file_system or NONE),
        ("Load at the start", machine.load),
        ("System", machine.system),
        (
            "Versions",
            f"genimage-stream {machine.genimage_stream}, Python {machine.python}, torch {machine.torch}",
        ),
        ("Images, batch, output", f"{options.shown()}, {options.batch_size} images, {options.output}"),
        (
            "Order",
            {"full": "all samples shuffled", "shards": "windows of shards", "none": "as packed"}[options.shuffle],
        ),
        ("Backend", f"{options.backend}, batches {'on ' + options.device if options.device else 'in host memory'}"),
        ("Time per measurement", f"{options.seconds:g} s in {TURNS} turns, storage {options.seconds:g} s"),
        ("Seed", options.seed),
    ]
    return Section("Machine and options").add(html.table("What the figures belong to", ("Fact", "Value"), rows))
