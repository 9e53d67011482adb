"""The command line: `genimage-stream bench`, `cache`, `demo`, `doctor`, `evaluate`, `recipes` and `replay`.

Exit codes: 0 done; 2 wrong usage, or a dataset that cannot be read. Results go to standard output, progress and
messages to standard error.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click

from genimage_stream import command_line
from genimage_stream.cache_commands import cache
from genimage_stream.remedies import NoTorchError, needing_torch, printable


@click.group(context_settings=command_line.SETTINGS)
@command_line.VERSION
def app() -> None:
    """Stream GenImage shards into detectors."""


@app.command(short_help="Measure loading speed on this machine with your shards.")
@click.argument("destination", metavar="DST")
@click.option("--html", metavar="FILE", help="Also write a page with charts.")
@click.option("--seconds", default=5.0, help="Duration of each single measurement.")
@click.option("--crop", type=int, show_default="224", help="Side of the crop in pixels.")
@click.option("--transform", metavar="R", help="In place of a crop: a recipe's name, or steps as JSON.")
@click.option("--batch-size", default=64, help="Images per batch.")
@click.option("--threads", metavar="1,2,4", show_default="up to one per core", help="Decoder thread counts to try.")
@click.option("--output", default="float32", metavar="uint8|float16|float32", help="Type of the batches.")
@click.option(
    "--shuffle",
    default="full",
    metavar="full|shards|none",
    help="Order of the samples: shuffled, shuffled within windows of shards, or as packed.",
)
@click.option("--backend", default="cpu", metavar="cpu|dali", help="Decoder of JPEGs.")
@click.option("--device", show_default="host memory", help="Device of the batches, e.g. cuda:0.")
@click.option("--cache-dir", metavar="DIR", help="Cache the shards of an object store or web server in this folder.")
@click.option("--generators", metavar="A,B", help="Only these generators.")
@click.option("--splits", metavar="train,val", help="Only these splits.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the choice and order of the samples.")
@click.option("--peers", is_flag=True, help="Also measure other loaders that are installed here, on the same shards.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def bench(
    destination: str,
    html: str | None,
    seconds: float,
    crop: int | None,
    transform: str | None,
    batch_size: int,
    threads: str | None,
    output: str,
    shuffle: str,
    backend: str,
    device: str | None,
    cache_dir: str | None,
    generators: str | None,
    splits: str | None,
    seed: int,
    peers: bool,
    as_json: bool,
) -> None:
    """Measure storage, decoding and loading end to end on this machine, and name the bottleneck.

    DST is a packed dataset: a folder or an address.
    """

    def work() -> int:
        from genimage_stream.bench.options import Options, default_threads, parse_threads

        with needing_torch("genimage-stream bench"):
            from genimage_stream.bench.page import render
            from genimage_stream.bench.run import run, steps
            from genimage_stream.bench.terminal import lines
        from genimage_stream.page.file import check_writable, write_page
        from genimage_stream.resources import cores

        if html is not None:
            check_writable(html)
        if transform is not None and crop is not None:
            raise ValueError("--crop beside --transform: a crop is a step of the transform; omit one of the two")
        options = Options(
            seconds=seconds,
            crop=224 if crop is None else crop,
            transform=transform,
            batch_size=batch_size,
            threads=default_threads(cores()) if threads is None else parse_threads(threads),
            output=_one_of("output", output, ("uint8", "float16", "float32")),
            shuffle=_one_of("shuffle", shuffle, ("full", "shards", "none")),
            backend=_one_of("backend", backend, ("cpu", "dali")),
            device=device,
            cache_dir=cache_dir,
            generators=command_line.words(generators),
            splits=command_line.words(splits),
            seed=seed,
            peers=peers,
        )
        with command_line.progress("bench", steps(options)) as say:
            results = run(destination, options, say)
        if html is not None:
            write_page(html, render(results))
        if as_json:
            print(command_line.json_text(results.plain()))
        else:
            for text in lines(results):
                command_line.line(text)
        if html is not None:
            command_line.line(f"bench: the page is {os.path.abspath(html)}", sys.stderr)
        return 0

    _end(work, as_json)


@app.command(short_help="List the transforms of published detectors.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def recipes(names: tuple[str, ...], as_json: bool) -> None:
    """List the transforms of published detectors: the steps of training and evaluation, and their sources.

    A loader takes them by name: transform="univfd", or "univfd:eval".
    """

    def work() -> int:
        from genimage_stream import recipes as all_recipes
        from genimage_stream.recipes.listing import lines

        chosen = [all_recipes.get(name) for name in names or all_recipes.names()]
        if as_json:
            print(command_line.json_text({recipe.name: recipe.as_json() for recipe in chosen}))
        else:
            print("\n".join(lines(chosen)).rstrip())
        return 0

    _end(work, as_json)


@app.command(short_help="Score a dataset with your detector, and write the tables.")
@click.argument("destinations", metavar="DST...", nargs=-1, required=True)
@click.option("--model", required=True, metavar="MODULE:FUNCTION", help="Function that returns the detector.")
@click.option("--weights", metavar="FILE", help="State dict for the detector, loaded with weights_only=True.")
@click.option("--outputs", default="logits", metavar="logits|probability", help="What the detector returns.")
@click.option(
    "--transform", metavar="RECIPE", show_default="CenterCrop(224)", help="Evaluate as this published detector does."
)
@click.option("--degrade", metavar="SET", help="Published set such as genimage, or jpeg:65,blur:3: also score these.")
@click.option(
    "--views", metavar="center|five|ten|all|whole", help="Average the scores of several crops, or score whole images."
)
@click.option("--stride", type=int, show_default="the crop's size", help="Pixels between the crops of --views all.")
@click.option("--out", metavar="DIR", default="evaluation", help="Folder for scores, tables and the page.")
@click.option("--split", default="val", metavar="train|val|all", help="Split to score.")
@click.option("--generators", metavar="A,B", help="Only these subsets.")
@click.option("--reals", default="own", metavar="own|pooled", help="Reals of a subset: its own, or all.")
@click.option("--batch-size", default=64, help="Images per batch.")
@click.option("--device", show_default="a GPU if there is one", help="Device of the detector, e.g. cuda:0.")
@click.option("--threads", type=int, show_default="one per core", help="Decoder threads of each rank.")
@click.option("--on-error", default="raise", metavar="raise|skip", help="Skip images that do not decode.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON on standard output.")
def evaluate(
    destinations: tuple[str, ...],
    model: str,
    weights: str | None,
    outputs: str,
    transform: str | None,
    degrade: str | None,
    views: str | None,
    stride: int | None,
    out: str,
    split: str,
    generators: str | None,
    reals: str,
    batch_size: int,
    device: str | None,
    threads: int | None,
    on_error: str,
    as_json: bool,
) -> None:
    """Score every image of a dataset with a detector; write scores.parquet, table.md, table.csv, table.json and
    index.html.

    DST is a packed dataset: a folder or an address; several are evaluated as one. FUNCTION() returns something that is
    called with images, float32 (n, 3, h, w), normalised, on the device, and gives logits (n,), (n, 1) or (n, 2). A run
    that was interrupted goes on when the same command is given again; torchrun spreads it over several GPUs.
    """

    def work() -> int:
        with needing_torch("genimage-stream evaluate"):
            from genimage_stream.evaluation.command import run
        from genimage_stream.vocabulary import alias

        table = run(
            destinations,
            {
                "model": model,
                "weights": weights,
                "outputs": _one_of("outputs", outputs, ("logits", "probability")),
                "transform": transform,
                "degrade": degrade,
                "views": views,
                "stride": stride,
                "batch_size": batch_size,
                "device": device,
                "threads": threads,
                "on_error": _one_of("on-error", on_error, ("raise", "skip")),
            },
            out=out,
            split=_one_of("split", alias("split", split) or split, ("train", "val", "all")),
            generators=command_line.words(generators),
            reals=_one_of("reals", reals, ("own", "pooled")),
            say=lambda line: print(f"evaluate: {line}", file=sys.stderr, flush=True),
        )
        if table is not None:
            wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            shown = table.markdown() if wide is None else table.text(wide)  # the files have all columns
            print(table.json() if as_json else shown, end="")
        return 0

    _end(work, as_json)


@app.command(short_help="Check that this machine gives the batches of a receipt.")
@click.argument("receipt", metavar="RECEIPT")
@click.option(
    "--data",
    metavar="DST",
    multiple=True,
    show_default="where it was",
    help="Folder or address of the dataset; once for each of several that were joined.",
)
@click.option("--pairs", metavar="DST", show_default="where they were", help="Folder or address of the pairs.")
@click.option("--check", is_flag=True, help="Compare samples, order and pixels with the receipt.")
@click.option("--functions", is_flag=True, help="Import the Python functions that its transform names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def replay(receipt: str, data: tuple[str, ...], pairs: str | None, check: bool, functions: bool, as_json: bool) -> None:
    """Make the loader of a receipt, which loader.receipt() gave, and say what it loads.

    With --check, the exit code is 1 when this machine would give other batches.
    """

    def work() -> int:
        import json

        with needing_torch("genimage-stream replay"):
            from genimage_stream.loading.replay import differences, loader_of
        try:
            with open(receipt, encoding="utf-8") as file:
                said = json.load(file)
        except (ValueError, RecursionError):
            raise ValueError(f"{receipt} is no JSON: give the file that loader.receipt() was written to") from None
        loader = loader_of(said, data, pairs, functions=functions)
        found = differences(said, loader) if check else []
        about = {
            "dataset": loader.dataset.path,
            "samples": len(loader.dataset),
            "epochs": said["epochs"],
            "hash": said["hash"],
            "checked": check,
            "differences": found,
        }
        if as_json:
            print(command_line.json_text(about))
        else:
            print(printable(f"{loader.dataset!r}, {said['epochs']} epochs, hash {said['hash']}"))
            print("\n".join(map(printable, found or ["the same samples, order and pixels"] * check)))
        return 1 if found else 0

    _end(work, as_json)


@app.command(short_help="Show what is installed here, and what is missing for what.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def doctor(as_json: bool) -> None:
    """Show versions, the instructions in use, CPUs, memory, disks, GPUs, and the optional packages.

    The exit code is 1 when the installation itself is broken.
    """

    def work() -> int:
        from genimage_stream.doctor import diagnose, lines

        found = diagnose()
        if as_json:
            print(command_line.json_text(found.plain()))
        else:
            for text in lines(found):
                command_line.line(text)
        return 1 if found.faults else 0

    _end(work, as_json)


@app.command(short_help="Show all of it on pictures that it draws itself.")
@click.option("--out", metavar="DIR", default="genimage-stream-demo", help="Folder for pictures, shards and the page.")
def demo(out: str) -> None:
    """Draw photograph-like pictures, pack and verify them, write a page, and stream them into a small detector.

    About a minute. Needs neither Pillow nor PyTorch; without PyTorch nothing is trained.
    """

    def work() -> int:
        from pathlib import Path

        from genimage_stream.demo.run import run

        run(Path(out))
        return 0

    _end(work, False)


app.add_command(cache)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"--{name} {value}: choose one of {', '.join(allowed)}")
    return value


def _end(work: Callable[[], int], as_json: bool) -> None:
    from genimage_stream.bench.options import BenchError
    from genimage_stream.evaluation.ranks import LostRankError

    expected = (BenchError, LostRankError, NoTorchError, OSError, ValueError)
    command_line.end("genimage-stream", work, as_json, expected=expected)


def main() -> None:
    command_line.start(app, "genimage-stream")


if __name__ == "__main__":
    main()
