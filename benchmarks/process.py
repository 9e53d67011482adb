"""Contestants of the benchmarks in processes of their own, which run modules of this checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from genimage_stream.bench import process

ROOT = Path(__file__).resolve().parents[1]


class Process(process.Process):
    """Starts `python -m MODULE NAME FILE`."""

    def __init__(self, name: str, module: str, file: Path, log: Path, python: str = sys.executable) -> None:
        super().__init__(name, [python, "-m", module, name, str(file)], log, ROOT)
