"""The search for words to replace, which `make lint` runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_words_to_replace_are_found_in_names_and_across_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text("# It runs for\n# ever: some 1,700 times.\nis_mended = 'awesome 50, amended, wholesome'\n")
    command = [sys.executable, str(ROOT / "scripts/words.py"), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.removeprefix(f"{page}:") for line in done.stdout.splitlines()] == [
        "1: for # ever -> indefinitely, permanently",
        "2: some 1,700 -> about N",
        "3: mended -> fixed",
    ]
