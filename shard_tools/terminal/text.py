"""What the commands say in plain lines."""

from __future__ import annotations

from genimage_stream.command_line import line

SHOWN_PROBLEMS = 20


def size_text(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} TB"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_reasons(reasons: list[tuple[str, int]]) -> None:
    """Why files are in quarantine, with the number of files."""
    for reason, files in reasons[:SHOWN_PROBLEMS]:
        line(f"{files:>9,}  {reason}")
    if len(reasons) > SHOWN_PROBLEMS:
        rest = sum(files for _, files in reasons[SHOWN_PROBLEMS:])
        line(f"{rest:>9,}  {len(reasons) - SHOWN_PROBLEMS:,} other reasons")


def print_problems(problems: list[str], what: str = "problem") -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        line(f"{what}: {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        line(f"... and {len(problems) - SHOWN_PROBLEMS:,} more; --json lists all")
