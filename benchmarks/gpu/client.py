"""The asking side of a GPU contestant's process."""

from __future__ import annotations

from pathlib import Path

from benchmarks import process


class Process(process.Process):
    """The contestant or question NAME of benchmarks/gpu/serve.py; its log is written beside the setting."""

    def __init__(self, name: str, setting: Path) -> None:
        super().__init__(name, "benchmarks.gpu.serve", setting, setting.with_name(f"{name}.log"))

    def _ended(self) -> str:
        said = self.last_words()[-1:] or ["nothing"]
        return f"{super()._ended()}; it said last: {said[0]}"
