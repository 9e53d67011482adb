"""How busy a GPU is and how long it waits for data, on an imagined GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu import gpu_use, training
from tests.fixtures.gpu_contest import SETTING


class ImaginedGpu:
    """A host and a GPU that works off what the host queues; marks are the GPU's time when it comes to them."""

    def __init__(self) -> None:
        self.host = self.gpu = 0.0

    def mark(self) -> float:
        self.gpu = max(self.gpu, self.host)
        return self.gpu

    def wait(self, mark: float) -> None:
        self.host = max(self.host, mark)

    def seconds(self, first: float, second: float) -> float:
        return second - first

    def step(self, _batch: Any) -> None:
        self.gpu = max(self.gpu, self.host) + 1.0

    def batches(self, *, host: float = 0.0, every: float = 0.0) -> Iterator[None]:
        """`host` seconds of the host's in each `next`; on the GPU a batch is ready every `every` seconds."""
        there = 0.0
        while True:
            self.host += host
            there = max(there, self.host) + every
            self.gpu = max(self.gpu, there)  # the consumer's stream waits for the batch's event
            yield None


@pytest.mark.parametrize(
    ("host", "every", "waiting"),
    [
        (0.0, 0.0, 0.0),
        (0.5, 0.0, 0.0),  # the host takes its time while the GPU still works: nothing is lost
        (0.0, 0.9, 0.0),  # batches that are only queued when they are handed over, but come in time
        (2.0, 0.0, 0.5),  # half of every two seconds without anything to do
        (0.0, 4.0, 0.75),  # `next` returns at once, and the batch is not there for long
    ],
)
def test_waiting_for_data_is_the_idle_time_of_the_gpu(host: float, every: float, waiting: float) -> None:
    gpu = ImaginedGpu()
    found = training.run(gpu.batches(host=host, every=every), gpu.step, gpu, steps=40)
    assert found.waiting == pytest.approx(waiting, abs=0.02)


def test_a_gpu_is_asked_for_by_its_uuid_and_fields_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, 'echo "$@" >> "$0.log"\necho "37, [N/A]"')
    with gpu_use.GpuUse("GPU-1234", every_seconds=0.01) as use:
        while len(use.samples) < 3:
            pass
    assert use.mean(0, float("inf")) == {"utilization.gpu": 37, "utilization.jpeg": None}
    assert "-i GPU-1234" in (tmp_path / "nvidia-smi.log").read_text()
    assert use.mean(0, 0) == use.peak(0, 0) == {"utilization.gpu": None, "utilization.jpeg": None}


def test_a_driver_that_does_not_know_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, 'echo "$@" >> "$0.log"\ncase "$*" in *jpeg*) exit 2;; esac\necho 41')
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample() for _ in range(5)] == [(41,)] * 5
    assert (tmp_path / "nvidia-smi.log").read_text().count("jpeg") == 3, "it has been believed by then"


def test_one_call_that_fails_costs_one_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = 'if [ ! -e "$0.$1" ]; then touch "$0.$1"; exit 1; fi'  # each question fails the first time
    nvidia_smi(tmp_path, monkeypatch, f'{once}\necho "5, 6"')
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample(), asked.sample()] == [(), (5, 6)]


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replaces the real one, on a machine without pynvml."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_nvml_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    jpegs = [(0, 1), NVMLError(), (35, 1)]

    def decoder(_: Any) -> Any:
        answer = jpegs.pop(0)
        if isinstance(answer, NVMLError):
            raise answer
        return answer

    pynvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=50, memory=1),
        nvmlDeviceGetJpgUtilization=decoder,
    )
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    asked = gpu_use.meter("GPU-1234")
    assert [asked.sample() for _ in range(3)] == [(50, 0), (50, None), (50, 35)]
    use = gpu_use.GpuUse("GPU-1234")
    use.samples = [(1, (50, 0)), (2, (50, None)), (3, (50, 35)), (4, (90, 99))]
    assert use.mean(0, 3) == {"utilization.gpu": 50, "utilization.jpeg": 17.5}
    assert use.peak(0, 3) == {"utilization.gpu": 50, "utilization.jpeg": 35}


def test_the_gpu_of_the_device_is_meant() -> None:
    assert replace(SETTING, device="cuda:1").gpu == 1
