"""How busy the GPU and its JPEG decoder are while a block runs: by NVML, or by nvidia-smi where there is no pynvml."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

FIELDS = ("utilization.gpu", "utilization.jpeg")
_SURE = 3  # refusals in a row after which a driver does not know a field; one alone says little

Values = tuple[float | None, ...]  # percent, in the order of FIELDS; None, or left out at the end: unknown


class Meter(Protocol):
    every_seconds: float

    def sample(self) -> Values: ...


class Nvml:
    """Raises whatever pynvml raises when it is not there, or cannot find the GPU."""

    every_seconds = 0.25

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def sample(self) -> Values:
        return (
            self._known(lambda: self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu),
            self._known(lambda: self._nvml.nvmlDeviceGetJpgUtilization(self._gpu)[0]),
        )

    def _known(self, ask: Callable[[], Any]) -> float | None:
        try:
            return float(ask())
        except (self._nvml.NVMLError, AttributeError):  # an old driver, or an old pynvml
            return None


class NvidiaSmi:
    """A process for each sample, and not a cheap one: once a second only."""

    every_seconds = 1.0

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._fields: Sequence[str] = FIELDS
        self._refused = 0

    def sample(self) -> Values:
        line = self._ask(self._fields)
        if line is None and len(self._fields) > 1:
            # A driver that does not know the other fields refuses the whole question.
            line = self._ask(self._fields[:1])
            self._refused += line is not None
            if self._refused == _SURE:
                self._fields = self._fields[:1]
        elif line is not None:
            self._refused = 0
        return () if line is None else parse(line)

    def _ask(self, fields: Sequence[str]) -> str | None:
        query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", self._uuid]
        try:
            done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def parse(line: str) -> Values:
    """A line of nvidia-smi's CSV; a field that this GPU or driver does not have is None."""
    values: list[float | None] = []
    for field in line.split(","):
        try:
            values.append(float(field))
        except ValueError:
            values.append(None)
    return tuple(values)


def meter(uuid: str) -> Meter:
    with contextlib.suppress(Exception):  # whatever is wrong with NVML, nvidia-smi may still know
        return Nvml(uuid)
    return NvidiaSmi(uuid)


class GpuUse:
    """Samples one GPU, by its UUID, until the block is left; without a UUID nothing is sampled. `samples` are
    (time.monotonic(), values).

    Numbers would not do: NVML counts all GPUs of the machine, torch those that CUDA_VISIBLE_DEVICES leaves.
    """

    def __init__(self, uuid: str | None, every_seconds: float | None = None) -> None:
        self._uuid = uuid
        self._every = every_seconds
        self.samples: list[tuple[float, Values]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuUse:
        if self._uuid:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._uuid:
            self._thread.join(timeout=2)  # a driver that does not answer is not waited for

    def mean(self, begin: float, end: float) -> dict[str, float | None]:
        """Percent by field, of the samples between two readings of time.monotonic()."""
        return {name: sum(found) / len(found) if found else None for name, found in self._known(begin, end)}

    def peak(self, begin: float, end: float) -> dict[str, float | None]:
        """The highest percent by field, likewise."""
        return {name: max(found, default=None) for name, found in self._known(begin, end)}

    def _known(self, begin: float, end: float) -> list[tuple[str, list[float]]]:
        within = [values for at, values in self.samples if begin <= at <= end]
        return [
            (name, [known for values in within if i < len(values) and (known := values[i]) is not None])
            for i, name in enumerate(FIELDS)
        ]

    def _watch(self) -> None:
        assert self._uuid is not None
        asked = meter(self._uuid)
        while not self._stop.wait(asked.every_seconds if self._every is None else self._every):
            if values := asked.sample():
                self.samples.append((time.monotonic(), values))
