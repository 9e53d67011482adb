"""Start and end of both commands: closed or full output streams, exit codes, one-sentence errors, JSON.

Exit codes besides a command's own: 2 wrong usage, or input or output that cannot be read or written; 70 an internal
error, with a traceback; 130 interrupted; 141 the reader of standard output has gone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from genimage_stream.addresses import shown
from genimage_stream.remedies import printable

SETTINGS: dict[str, Any] = {
    "show_default": True,
    "max_content_width": 100,
    "help_option_names": ["-h", "--help"],
}
# JSON has escapes for control characters below U+0020 by itself.
_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
VERSION = click.version_option(package_name="genimage-stream", message="%(prog)s %(version)s")


def start(app: click.Group, name: str) -> None:
    """Run the command of this process, called `name`, and exit."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the parent process
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
    try:
        code = app(prog_name=name, standalone_mode=False) or 0
    except click.ClickException as error:
        if "--json" in sys.argv[1:]:
            _to(sys.stdout, json_text({"error": error.format_message()}))
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except OSError as error:  # from --help; errors of the commands are handled in `end`
        _to(sys.stderr, f"{name}: standard output: {error.strerror}")
        code = 2
    _detach_output()
    sys.exit(code)


def end(
    name: str,
    work: Callable[[], int],
    as_json: bool,
    *,
    expected: tuple[type[Exception], ...],
    interrupted: str = "interrupted",
) -> None:
    """Run a command's work and end the command with its exit code; an error of an `expected` type ends it with its
    message, which is the one JSON object when JSON was requested."""

    def failed(sentence: str, code: int) -> int:
        sentence = shown(sentence)
        if as_json:
            _to(sys.stdout, json_text({"error": sentence}))
        _to(sys.stderr, printable(f"{name}: {sentence}"))
        return code

    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        code = 141
    except expected as error:
        code = failed(str(error), 2)
    except KeyboardInterrupt:
        code = failed(interrupted, 130)
    except OSError as error:
        code = failed(f"standard output: {error.strerror}" if error.filename is None else str(error), 2)
    except Exception as error:
        _to(sys.stderr, traceback.format_exc())
        code = failed(f"internal error: {type(error).__name__}: {error}", 70)
    _detach_output()
    click.get_current_context().exit(code)


def json_text(value: Mapping[str, Any]) -> str:
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=1, ensure_ascii=False))


def line(text: str, stream: Any = None) -> None:
    """Print one line, of which nothing is taken for a command to the terminal or for another line."""
    print(printable(text), file=stream or sys.stdout)


def words(text: str | None) -> tuple[str, ...] | None:
    """The words of an option such as --generators a,b."""
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text is not None else None


@contextlib.contextmanager
def progress(name: str, total: int, *, done: bool = False) -> Iterator[Callable[[str], None]]:
    """What is told of each of `total` steps, when it begins or, with `done`, when it has ended: a bar on a terminal,
    plain lines elsewhere, on standard error."""
    if not sys.stderr.isatty():
        yield lambda text: print(printable(f"{name}: {text}"), file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<37}", markup=False),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("opening", total=total)
        completed = int(done)

        def say(text: str) -> None:
            nonlocal completed
            bar.update(task, description=printable(text), completed=completed)
            completed += 1

        yield say


def _to(stream: Any, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk or a closed pipe: the message cannot be shown
        print(text, file=stream, flush=True)


def _detach_output() -> None:
    """Point broken streams at /dev/null: the interpreter flushes them when it exits and would change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
