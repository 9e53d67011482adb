"""Finds the words that pyproject.toml lists under [tool.plain-english], and says what to write instead.

    python scripts/words.py            all sources and pages
    python scripts/words.py FILE ...   these

Words count as whole words, in any case, also in names (`is_mended`) and where a phrase goes on in the next line;
`#` is any number. Exit code 1 when there are any, each as FILE:LINE: WORD -> REPLACEMENT.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("*.py", "*.pyi", "*.c", "*.cpp", "*.hpp", "*.cu", "*.md", "*.sh", "*.slurm", "*.toml", "*.html", "*.css")
KINDS += ("*Makefile", ".ci/run")
EXEMPT = ("pyproject.toml", "scripts/words.py", "tests/test_words.py", "benchmarks/results/")  # lists; programs' output
BREAK = r"(?:\s|\n\s*(?:#|//|\*)?\s*)+"  # between two words, also of a comment


def pattern(phrase: str) -> str:
    words = [r"\d[\d,.]*" if word == "#" else re.escape(word) for word in phrase.split()]
    return rf"(?<![A-Za-z]){BREAK.join(words)}(?![A-Za-z])"


def listed() -> dict[str, str]:
    """Replacement by word or phrase."""
    words: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["plain-english"]
    return words


def found(text: str, words: dict[str, str]) -> list[tuple[int, str, str]]:
    """(line, as written, replacement), in the order of the text."""
    replacements = {re.compile(pattern(phrase), re.IGNORECASE): instead for phrase, instead in words.items()}
    hits = [
        (hit.start(), " ".join(hit[0].split()), instead)
        for expression, instead in replacements.items()
        for hit in expression.finditer(text)
    ]
    return [(text.count("\n", 0, start) + 1, written, instead) for start, written, instead in sorted(hits)]


def main() -> int:
    names = sys.argv[1:]
    if not names:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *KINDS]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        names = [name for name in listing.splitlines() if not name.startswith(EXEMPT) and (ROOT / name).is_file()]
    words, count = listed(), 0
    for name in names:
        for line, written, instead in found((ROOT / name).read_text(), words):
            print(f"{name}:{line}: {written} -> {instead}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
