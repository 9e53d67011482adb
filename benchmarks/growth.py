"""The loader at GenImage's full size, and over time: start-up, time in Python, memory.

    python -m benchmarks.growth index  [--repeats 3] [--record]     by the number of samples in the index
    python -m benchmarks.growth share  [--processes 4] [--record]   processes that have one index open together
    python -m benchmarks.growth memory [--epochs 30] [--record]     memory against time

The index sizes are synthetic: the rows of a packed set over and over, up to GenImage's 2,681,167, with keys and hashes
as distinct as real ones; every row leads to a real image, so batches are really loaded. Every figure is taken in a
process of its own, imports not counted. Results (index_size, memory) go to .bench/results, or with --record to
benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.chart import line_chart
from benchmarks.data import link_or_copy, packed, packer_digest, texts
from benchmarks.environments import ROOM, ROOT

INDEX_SIZES = (1_000, 10_000, 100_000, 1_000_000, 2_681_167)
OPTIONS = {"batch_size": 64, "crop": 224, "output": "float32", "flip": True}
PACKAGES = ("genimage-stream", "torch", "numpy", "pyarrow")


def make_large(dataset: Path, folder: Path, rows: int) -> Path:
    """A dataset of `rows` rows over the shards of another; hashes are as long and as distinct as real ones, and keys
    repeat, for a loader compares them with the shards. How it was packed stays known: crop-ready shards are other work
    for DALI, and `tune` tells them apart by that."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from genimage_stream import schema

    if folder.exists():
        return folder
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for entry in dataset.iterdir():
        if entry.is_dir():
            shutil.copytree(entry, unfinished / entry.name, copy_function=link_or_copy)  # links may not leave a dataset
    table = pq.read_table(dataset / schema.INDEX_FILE)
    # Fewer rows than there are: from all over, for the first ones are of a few generators alone.
    chosen = np.sort(np.arange(rows) % len(table)) if rows >= len(table) else np.arange(rows) * len(table) // rows
    table = table.take(pa.array(chosen))
    numbers = pc.cast(pa.array(np.arange(rows)), pa.string())
    hashes = texts(64, np.random.default_rng(rows).bytes(32 * rows).hex().encode())
    for name in ("sha256", "source"):
        words = hashes if name == "sha256" else pc.binary_join_element_wise(table[name], numbers, "_")
        table = table.set_column(table.schema.get_field_index(name), name, words)
    pq.write_table(table, unfinished / schema.INDEX_FILE, compression="zstd")
    known = json.loads((dataset / schema.DATASET_FILE).read_text())
    facts = {"format_version": schema.FORMAT_VERSION, "options": known.get("options")}
    (unfinished / schema.DATASET_FILE).write_text(json.dumps(facts))
    unfinished.rename(folder)
    return folder


def make_index(folder: Path, rows: int) -> Path:
    """A dataset of `rows` rows that has no shards, made in seconds: enough to open, with keys, paths and hashes as long
    and as distinct as real ones."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from genimage_stream import schema

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / schema.DATASET_FILE).exists():
        return folder
    random = np.random.default_rng(rows)
    numbers, images_a_shard = np.arange(rows), 2_400

    def words(codes: Any, values: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(values, pa.string()))

    generators = ["adm", "biggan", "glide", "midjourney", "sd14", "sd15", "vqdm", "wukong"]
    generator = numbers * len(generators) // rows
    shard = numbers // images_a_shard
    paths = [
        schema.shard_path(generators[generator[at * images_a_shard]], "train", at) for at in range(int(shard[-1]) + 1)
    ]
    label = random.integers(0, 2, rows)
    names = np.char.add("generator_train_fake_", np.char.zfill(numbers.astype("U9"), 19)).astype("S40")
    size = random.integers(80_000, 120_000, rows)
    columns: dict[str, pa.Array] = {
        "key": texts(40, names.tobytes()),
        "generator": words(generator, generators),
        "split": words(np.zeros(rows, np.int32), ["train"]),
        "label": words(label, ["fake", "real"]),
        "class_index": pa.array(random.integers(0, 1000, rows), pa.int16()),
        "synset": words(np.zeros(rows, np.int32), ["n01440764"]),
        "shard": words(shard, paths),
        "offset": pa.array(numbers % images_a_shard * 122_880 + 512),
        "size": pa.array(size),
        "format": words(label, ["png", "jpeg"]),
        "mode": words(np.zeros(rows, np.int32), ["RGB"]),
        "width": pa.array(random.choice([256, 512, 500], rows), pa.int32()),
        "height": pa.array(random.choice([256, 512, 375], rows), pa.int32()),
        "jpeg_quality": pa.array(np.full(rows, 96), pa.int16()),
        "chroma": words(np.zeros(rows, np.int32), ["420"]),
        "progressive": pa.array(np.zeros(rows, bool)),
        "sha256": texts(64, random.bytes(32 * rows).hex().encode()),
        "source": texts(40, names.tobytes()),
    }
    distinct = ("key", "sha256", "source", "offset", "size")
    pq.write_table(
        pa.table(columns, schema=schema.index_schema()),
        folder / schema.INDEX_FILE,
        compression="zstd",
        row_group_size=128 * 1024,
        use_dictionary=[name for name in columns if name not in distinct],
        write_page_checksum=True,
    )
    facts = {"format_version": schema.FORMAT_VERSION, "counts": {"samples": rows}}
    (folder / schema.DATASET_FILE).write_text(json.dumps(facts))
    return folder


# -- measured in processes of their own --------------------------------------------------------------------------------


def memory_kib(field: str) -> int:
    """Of this process: VmRSS, resident now, or VmHWM, at most so far."""
    text = Path("/proc/self/status").read_text()
    return int(text[text.index(f"{field}:") :].split()[1])


def start(path: str, resume: bool) -> dict[str, float]:
    """Opening, first batch (of an epoch, or going on in its middle), and the memory that this took."""
    import pyarrow.parquet  # noqa: F401 - imports are not what is measured
    import torch  # noqa: F401

    import genimage_stream as gs

    _ = gs.Loader
    before = memory_kib("VmRSS")
    begin = time.perf_counter()
    dataset = gs.open_dataset(path)
    opened = time.perf_counter()
    loader = gs.Loader(dataset, **OPTIONS)  # type: ignore[arg-type]
    if resume:
        loader.load_state_dict({**loader.state_dict(), "position": len(dataset) // 2})
    batch = next(iter(loader))
    first = time.perf_counter()
    assert len(batch) == 64
    return {"open": opened - begin, "first_batch": first - begin, "mib": (memory_kib("VmHWM") - before) / 1024}


def hold(path: str) -> None:
    """Opens a dataset and reads from its index what a loader needs; says how long that took, waits for a line, and then
    says what this process has of memory besides what it had before. Run by `together`."""
    import pyarrow.parquet  # noqa: F401 - imports are not what is measured
    import torch  # noqa: F401

    import genimage_stream as gs
    from genimage_stream.loading.samples import SampleTable

    _ = gs.Loader
    before = rollup()
    begin = time.perf_counter()
    access = gs.open_dataset(path).access
    table = SampleTable.of(access, parts=False)
    hashes = table.hashes()
    seconds = time.perf_counter() - begin
    assert len(hashes) == len(access)
    keys = access.columns.keys(np_rows(len(access)))
    print(json.dumps({"seconds": seconds, "keys": len(keys)}), flush=True)
    sys.stdin.readline()
    checked = int(sum(int(column.sum(dtype="int64")) for column in (table.shard, table.offset, table.label)))
    after = rollup()
    print(json.dumps({name: (after[name] - before[name]) / 1024 for name in after} | {"sum": checked}), flush=True)
    sys.stdin.readline()


def np_rows(rows: int) -> Any:
    """64 rows from all over an index."""
    import numpy as np

    return np.linspace(0, rows - 1, 64).astype(np.int64)


def rollup() -> dict[str, int]:
    """KiB of this process: `private`, its own; `pss`, with its part of what it shares."""
    found: dict[str, int] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.replace(":", "").split()
        found[name] = int(value)
    return {"private": found["Private_Clean"] + found["Private_Dirty"], "pss": found["Pss"]}


def together(path: str, processes: int, environment: Mapping[str, str]) -> list[dict[str, float]]:
    """`hold` in several processes, which open one after the other and then are there at once."""
    command = [sys.executable, "-m", "benchmarks.growth", "--measure", json.dumps(["hold", path])]
    held = []
    found: list[dict[str, float]] = []
    for _ in range(processes):
        held.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
            )
        )
        found.append(json.loads(held[-1].stdout.readline()))  # type: ignore[union-attr]
    for _ in range(2):  # once all columns are used by all, the parts of what they share are those of that many
        for one, process in zip(found, held, strict=True):
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            if "pss" not in one:
                one.update(json.loads(process.stdout.readline()))  # type: ignore[union-attr]
    for process in held:
        process.communicate()
    return found


def batches(path: str, count: int = 150) -> dict[str, float]:
    """Seconds a batch on the wall, and of CPU that the consumer's thread spends in the loader; waiting takes none.

    Small windows, so that many batches are handed over and the interpreter's part shows.
    """
    import genimage_stream as gs

    loader = gs.Loader(gs.open_dataset(path), **{**OPTIONS, "crop": 64})  # type: ignore[arg-type]

    def endless() -> Any:
        while True:
            yield from loader

    running = endless()
    for _ in range(10):
        next(running)
    begin, wall = time.thread_time(), time.perf_counter()
    for _ in range(count):
        next(running)
    return {
        "interpreter": (time.thread_time() - begin) / count,
        "batch": (time.perf_counter() - wall) / count,
    }


def memory(path: str, epochs: int) -> list[tuple[float, float, int]]:
    """(seconds since the beginning, resident MiB, images so far) after each epoch."""
    import genimage_stream as gs

    loader = gs.Loader(gs.open_dataset(path), **OPTIONS)  # type: ignore[arg-type]
    found, images, begin = [], 0, time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            images += len(batch)
        found.append((round(time.perf_counter() - begin, 2), round(memory_kib("VmRSS") / 1024, 1), images))
    return found


MEASURES: dict[str, Callable[..., Any]] = {"start": start, "batches": batches, "memory": memory, "hold": hold}


def alone(name: str, *arguments: Any) -> Any:
    """A measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--measure", json.dumps([name, *arguments])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


# -- the two parts -----------------------------------------------------------------------------------------------------


def index_part(repeats: int, folder: Path) -> Path:
    """By the number of rows; every figure a median of `repeats` processes, which take turns over the sizes."""
    shards = packed()
    places = {
        rows: str(make_large(shards, ROOM / "data" / f"rows-{rows}-even-{packer_digest()[:8]}", rows))
        for rows in INDEX_SIZES
    }
    found: dict[int, dict[str, list[float]]] = {rows: {} for rows in INDEX_SIZES}
    for _ in range(repeats):
        for rows, place in places.items():
            fresh, middle, steady = alone("start", place, False), alone("start", place, True), alone("batches", place)
            figures = {
                "open_seconds": fresh["open"],
                "first_batch_seconds": fresh["first_batch"],
                "resume_seconds": middle["first_batch"],
                "interpreter_seconds_per_batch": steady["interpreter"],
                "seconds_per_batch_of_64_windows": steady["batch"],
                "memory_mib": fresh["mib"],
            }
            for name, value in figures.items():
                found[rows].setdefault(name, []).append(round(value, 6))
    starts = index_table(found)
    print(starts)
    folder.mkdir(parents=True, exist_ok=True)
    sections = {"Starts, and batches": starts}
    for name, (title, chart) in index_charts(found).items():
        (folder / f"{name}.svg").write_text(chart)
        sections["Starts, and batches"] += f"\n\n![{title}]({name}.svg)"
    markdown, _ = harness.write_results(
        "index_size",
        "By the number of samples in the index",
        sections,
        {"repeats": repeats, "sizes": {str(rows): one for rows, one in found.items()}},
        package_versions=harness.versions(*PACKAGES),
        remarks=[
            f"{f'Medians of {repeats} processes' if repeats > 1 else 'One process'} of each kind and size; the index "
            "is in the page cache. Memory: what the process's peak grew by from before opening to after the first "
            "batch, the batches' own buffers included. The interpreter: CPU time of the consumer's thread inside the "
            "loader, for batches of 64. Images/s: of 64 x 64 windows, so that as many batches as possible are handed "
            "over; lowest to highest of the processes.",
        ],
        folder=folder,
    )
    return markdown


Found = Mapping[int, Mapping[str, Sequence[float]]]  # rows -> figure -> a value of each process


def index_table(found: Found) -> str:
    """Markdown: a row per size of the index."""
    lines = ["| samples in the index | opening, ms | opening to first batch, ms | to going on in the middle, ms "]
    lines[0] += "| interpreter a batch, ms | images/s | memory, MiB |"
    lines.append("|---:|---:|---:|---:|---:|---:|---:|")
    for rows, one in found.items():
        middle = {name: statistics.median(values) for name, values in one.items()}
        times = ("open_seconds", "first_batch_seconds", "resume_seconds")
        cells = [f"{1000 * middle[name]:,.0f}" for name in times]
        cells.append(f"{1000 * middle['interpreter_seconds_per_batch']:.2f}")
        low, rate, high = (f"{value:,.0f}" for value in speeds(one))
        cells.append(rate if low == high else f"{rate} ({low}-{high})")
        lines.append(f"| {rows:,} | {' | '.join(cells)} | {middle['memory_mib']:,.0f} |")
    return "\n".join(lines)


def speeds(one: Mapping[str, Sequence[float]]) -> tuple[float, float, float]:
    """Images per second of batches of 64: lowest, median, highest."""
    rates = [64 / seconds for seconds in one["seconds_per_batch_of_64_windows"]]
    return min(rates), statistics.median(rates), max(rates)


def index_charts(found: Found) -> dict[str, tuple[str, str]]:
    """SVGs over the number of rows, by the name of their file: (title, chart)."""

    def points(name: str) -> list[tuple[float, float, float, float]]:
        rows = [(n, [1000 * v for v in one[name]]) for n, one in found.items()]
        return [(n, statistics.median(values), min(values), max(values)) for n, values in rows]

    starts = {
        "opening to first batch": points("first_batch_seconds"),
        "going on in the middle": points("resume_seconds"),
        "opening alone": points("open_seconds"),
    }
    rates = {
        "64 x 64 windows": [
            (n, rate, low, high) for n, (low, rate, high) in zip(found, map(speeds, found.values()), strict=True)
        ]
    }
    x_label = "samples in the index"
    titles = {
        "index_size": "Starting, by the number of samples in the index",
        "index_speed": "Images per second, by the number of samples in the index",
    }
    charts = {
        "index_size": line_chart(starts, titles["index_size"], x_label=x_label, y_label="milliseconds", log_x=True),
        "index_speed": line_chart(rates, titles["index_speed"], x_label=x_label, y_label="images/s", log_x=True),
    }
    return {name: (titles[name], chart) for name, chart in charts.items()}


def share_part(processes: int, folder: Path) -> Path:
    """An index of GenImage's size, open in several processes at once: with `.index.arrow`, and without any."""
    from genimage_stream import schema
    from genimage_stream.dataset.opening import open_index
    from genimage_stream.storage.store_at import open_store

    rows = INDEX_SIZES[-1]
    place = make_index(ROOM / "data" / f"index-{rows}", rows)
    beside = place / schema.MAP_FILE
    nowhere = {**os.environ, "XDG_CACHE_HOME": "/dev/null"}  # where no cache can be made
    beside.unlink(missing_ok=True)
    plain = together(str(place), processes, nowhere)
    begin = time.perf_counter()
    open_index(open_store(str(place))).write_map()
    written = time.perf_counter() - begin
    mapped = together(str(place), processes, nowhere)
    lines = [
        "| | opening, ms | private memory of a process, MiB | Pss of a process, MiB |",
        "|---|---:|---:|---:|",
    ]
    for name, found in (("index.parquet alone", plain), (".index.arrow", mapped)):
        seconds, private, pss = (statistics.median(one[key] for one in found) for key in ("seconds", "private", "pss"))
        lines.append(f"| {name} | {1000 * seconds:,.0f} | {private:,.1f} | {pss:,.1f} |")
    lines += ["", f"The file has {beside.stat().st_size / 1e6:,.0f} MB and was written in {written:.1f} s."]
    print("\n".join(lines))
    folder.mkdir(parents=True, exist_ok=True)
    markdown, _ = harness.write_results(
        "index_shared",
        f"An index of {rows:,} samples, opened by {processes} processes",
        {"Opening, and memory": "\n".join(lines)},
        {"processes": processes, "plain": plain, "mapped": mapped, "write_seconds": written},
        package_versions=harness.versions(*PACKAGES),
        remarks=[
            f"Medians of {processes} processes that hold the dataset at once; imports are not counted. Opening: "
            "open_dataset and all columns of the index that a loader needs, but the keys. Memory: what "
            "/proc/self/smaps_rollup says more than before, when every column has been used once; keys of 64 samples "
            "were looked up.",
        ],
        folder=folder,
    )
    return markdown


def memory_part(epochs: int, folder: Path) -> Path:
    """Resident memory after each epoch of one loader."""
    found = alone("memory", str(packed()), epochs)
    folder.mkdir(parents=True, exist_ok=True)
    title = "Memory of the process over time"
    points = [(at, mib, mib, mib) for at, mib, _ in found]
    chart = line_chart({"resident": points}, title, x_label="seconds", y_label="MiB")
    (folder / "memory.svg").write_text(chart)
    later = [mib for _, mib, _ in found[1:]] or [found[0][1]]
    lines = ["| | seconds | images | resident, MiB |", "|---|---:|---:|---:|"]
    for name, number in (("after the first epoch", 0), ("after the second", 1), ("after the last", -1)):
        at, mib, images = found[min(number, len(found) - 1)]
        lines.append(f"| {name} | {at:.1f} | {images:,} | {mib:,.0f} |")
    lines += ["", f"{len(found)} epochs; from the second on between {min(later):,.0f} and {max(later):,.0f} MiB."]
    print("\n".join(lines))
    markdown, _ = harness.write_results(
        "memory",
        "Memory against time",
        {"One loader, epoch after epoch": "\n".join(lines) + f"\n\n![{title}](memory.svg)"},
        {"epochs": [{"seconds": at, "resident_mib": mib, "images": images} for at, mib, images in found]},
        package_versions=harness.versions(*PACKAGES),
        remarks=["224 crops as float32 batches of 64; interpreter, torch and all libraries are in the figure."],
        folder=folder,
    )
    return markdown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["index", "share", "memory"])
    parser.add_argument("--processes", type=int, default=4, help="that have the index open at once, for share")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30, help="about a second each on 2 cores")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, *rest = json.loads(given.measure)
        print(json.dumps(MEASURES[name](*rest)))
        return 0
    if min(given.repeats, given.epochs, given.processes) < 1:
        parser.error("--repeats, --epochs and --processes: at least 1")
    folder = harness.RESULTS if given.record else ROOM / "results"
    if given.part == "index":
        written = index_part(given.repeats, folder)
    elif given.part == "share":
        written = share_part(given.processes, folder)
    elif given.part == "memory":
        written = memory_part(given.epochs, folder)
    else:
        parser.error("say which part: index, share or memory")
    print(f"bench: written: {written.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
