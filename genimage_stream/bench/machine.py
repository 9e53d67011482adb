"""The machine and the versions with which a figure was measured."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from genimage_stream.resources import cores


@dataclass(frozen=True)
class Machine:
    """`cores` that this process may use; the `load` of the last minute; `gpu`: its name. What is unknown is None."""

    cpu: str
    cores: int
    memory_bytes: int | None
    load: float
    gpu: str | None
    file_system: str | None
    system: str
    python: str
    torch: str
    genimage_stream: str


def describe(place: str | None) -> Machine:
    """This machine; `place` is the dataset's folder when it is local, for the type of its file system."""
    return Machine(
        cpu=cpu_name(),
        cores=cores(),
        memory_bytes=_memory(),
        load=round(os.getloadavg()[0], 2),
        gpu=_gpu(),
        file_system=file_system(place) if place else None,
        system=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
        torch=metadata.version("torch"),
        genimage_stream=metadata.version("genimage-stream"),
    )


def cpu_name() -> str:
    """The model of the CPU where the system tells, else its kind, such as aarch64."""
    return _line("/proc/cpuinfo", "model name") or platform.machine()


def _line(path: str, key: str) -> str | None:
    try:
        for line in Path(path).read_text("utf-8", "replace").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def _memory() -> int | None:
    found = _line("/proc/meminfo", "MemTotal")
    return int(found.split()[0]) * 1024 if found else None


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def file_system(place: str) -> str | None:
    """The type of the file system, as /proc/mounts names it."""
    try:
        device = os.stat(place).st_dev
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        if line.split()[2] == wanted:
            return line.partition(" - ")[2].split()[0]
    return None
