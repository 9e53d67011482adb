"""`make test-arm` where its tools are missing; with them it runs by itself in continuous integration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts/test_arm.sh"


def test_without_the_tools_it_says_which_one_is_missing() -> None:
    environment = {**os.environ, "ARM_CXX": "no-such-compiler"}
    result = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0
    assert result.stdout.startswith("test-arm: skipped, there is no no-such-compiler: apt-get install")
