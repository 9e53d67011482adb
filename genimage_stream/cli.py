"""The command line: `genimage-stream bench`.

Exit codes: 0 done; 2 wrong usage, or a dataset that cannot be read. Results go to standard output, progress and
messages to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="genimage-stream",
    help="Stream GenImage shards into detectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.callback()
def _root() -> None:
    """Stream GenImage shards into detectors."""


@app.command()
def bench(
    destination: Annotated[str, typer.Argument(metavar="DST", help="A packed dataset: a folder or an address.")],
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Also write a page with charts.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each single measurement.")] = 5.0,
    crop: Annotated[int, typer.Option(help="Side of the crop, pixels.")] = 224,
    batch_size: Annotated[int, typer.Option(help="Images of a batch.")] = 64,
    threads: Annotated[
        str | None,
        typer.Option(metavar="1,2,4", help="Numbers of decoder threads to try; by default up to one a core."),
    ] = None,
    output: Annotated[str, typer.Option(help="uint8, float16 or float32.")] = "float32",
    shuffle: Annotated[str, typer.Option(help="full, shards (windows of shards front to back) or none.")] = "full",
    backend: Annotated[str, typer.Option(help="cpu or dali.")] = "cpu",
    device: Annotated[str | None, typer.Option(help="Where batches go, as cuda:0; by default host memory.")] = None,
    cache_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep shards of an address in this folder.")
    ] = None,
    generators: Annotated[str | None, typer.Option(metavar="A,B", help="Only these generators.")] = None,
    splits: Annotated[str | None, typer.Option(metavar="train,val", help="Only these splits.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice and order of the samples.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure storage, decoding and loading end to end on this machine, and name the bottleneck."""

    def work() -> int:
        from genimage_stream.bench.machine import cores
        from genimage_stream.bench.page import render
        from genimage_stream.bench.run import Options, default_threads, parse_threads, run
        from genimage_stream.bench.terminal import lines
        from genimage_stream.page.file import check_writable, write_page

        if html is not None:
            check_writable(html)
        options = Options(
            seconds=seconds,
            crop=crop,
            batch_size=batch_size,
            threads=default_threads(cores()) if threads is None else parse_threads(threads),
            output=_one_of("output", output, ("uint8", "float16", "float32")),
            shuffle=_one_of("shuffle", shuffle, ("full", "shards", "none")),
            backend=_one_of("backend", backend, ("cpu", "dali")),
            device=device,
            cache_dir=cache_dir,
            generators=_words(generators),
            splits=_words(splits),
            seed=seed,
        )
        results = run(destination, options, lambda line: print(f"bench: {line}", file=sys.stderr, flush=True))
        if html is not None:
            write_page(html, render(results))
        if as_json:
            _json(results.plain())
        else:
            print("\n".join(lines(results)))
        return 0

    _end(work, as_json)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"--{name} {value}: choose one of {', '.join(allowed)}")
    return value


def _words(text: str | None) -> tuple[str, ...] | None:
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text is not None else None


def _json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def _end(work: Callable[[], int], as_json: bool) -> None:
    """Run a command's work and turn its end into an exit code and, where it failed, one sentence."""
    from genimage_stream.bench.run import BenchError

    try:
        code = work()
    except (BenchError, OSError, ValueError) as error:
        if as_json:
            _json({"error": str(error)})
        print(f"genimage-stream: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("genimage-stream: interrupted", file=sys.stderr)
        code = 130
    raise typer.Exit(code)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
