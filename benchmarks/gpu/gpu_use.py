"""What nvidia-smi says about the GPU's use while a block runs."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence

FIELDS = ("utilization.gpu", "utilization.jpeg")


def parse(line: str) -> tuple[float | None, ...]:
    """A line of nvidia-smi's CSV; a field that this GPU or driver does not have is None."""
    values: list[float | None] = []
    for field in line.split(","):
        try:
            values.append(float(field))
        except ValueError:
            values.append(None)
    return tuple(values)


class GpuUse:
    """Samples one GPU, by its UUID, until the block is left; without a UUID nothing is sampled.

    Numbers would not do: nvidia-smi counts all GPUs of the machine, torch those that CUDA_VISIBLE_DEVICES leaves.
    """

    def __init__(self, uuid: str | None, every_seconds: float = 0.25) -> None:
        self._uuid = uuid
        self._every = every_seconds
        self._samples: list[tuple[float, tuple[float | None, ...]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuUse:
        if self._uuid:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._uuid:
            self._thread.join()

    def mean(self, begin: float, end: float) -> dict[str, float | None]:
        """Percent by field, of the samples between two readings of time.monotonic()."""
        within = [values for at, values in self._samples if begin <= at <= end]
        return {name: _mean([values[i] for values in within if i < len(values)]) for i, name in enumerate(FIELDS)}

    def _watch(self) -> None:
        fields: Sequence[str] = FIELDS
        while not self._stop.wait(self._every):
            line = self._ask(fields)
            if line is None and len(fields) > 1:
                fields = fields[:1]  # a driver that does not know the others refuses the whole question
                line = self._ask(fields)
            if line is None:
                return
            self._samples.append((time.monotonic(), parse(line)))

    def _ask(self, fields: Sequence[str]) -> str | None:
        query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", self._uuid]
        try:
            done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)  # type: ignore[arg-type]
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
