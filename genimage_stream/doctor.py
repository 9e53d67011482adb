"""`genimage-stream doctor`: what is installed here, what this machine offers, and what is missing for what."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genimage_stream import resources
from genimage_stream.bench.machine import cpu_name, file_system
from genimage_stream.decode import decode, native
from genimage_stream.page.picture import encode_png
from genimage_stream.page.scales import size

#: By level; AArch64 has one.
_SETS = {0: "no vector instructions", 1: "SSSE3", 2: "AVX2", 3: "AVX-512"}
if platform.machine() == "aarch64":
    _SETS = {0: "no vector instructions", 1: "NEON"}

#: Optional packages: the module, the distributions that have it, what needs it, how to get it.
OPTIONAL = (
    ("torch", ("torch",), "gs.Loader, bench, evaluate", "genimage-stream[torch]"),
    ("PIL", ("pillow", "pillow-simd"), "AVIF, TIFF, GIF, BMP; batch.show", "genimage-stream[pillow]"),
    ("obstore", ("obstore",), "s3://, gs://, az://, https://", "genimage-stream[s3]"),
    ("ray", ("ray",), "pack --engine ray, gs.ray_dataset", "genimage-stream[ray]"),
    ("nvidia.dali", ("nvidia-dali-cuda120", "nvidia-dali-cuda130"), 'backend="dali"', "genimage-stream[dali-cuda12]"),
    ("inflate64", ("inflate64",), "zips compressed by Deflate64", "inflate64"),
    ("pandas", ("pandas",), "dataset.to_pandas()", "pandas"),
    ("albumentations", ("albumentations",), "recipes with its steps", "albumentations"),
    ("boto3", ("boto3",), "profiles of AWS, odd keys of S3", "boto3"),
)


@dataclass(frozen=True)
class Package:
    """An optional package. `version` is None where it is missing; `fault` says why it cannot be used, if so."""

    name: str
    version: str | None
    needed_for: str
    install: str
    fault: str | None = None


@dataclass(frozen=True)
class Disk:
    """A folder, the type of its file system where the system tells, and what is free there."""

    path: str
    kind: str | None
    free_bytes: int


@dataclass(frozen=True)
class Diagnosis:
    """What was found. `faults`: sentences about what is broken in the installation itself; `hints`: what is not broken
    and slows this machine down or will be missed."""

    version: str
    place: str
    python: str
    system: str
    instruction_set: str
    libraries: dict[str, str]
    cpu: str
    cores: int
    machine_cores: int
    memory_bytes: int
    load: float
    disks: list[Disk]
    gpus: list[str]
    packages: list[Package]
    faults: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def diagnose() -> Diagnosis:
    """Look at this machine and installation. Imports PyTorch and DALI where they are installed, to see whether they
    load: seconds."""
    packages = [_package(*one) for one in OPTIONAL]
    gpus, hints = _gpus(next(one for one in packages if one.name == "torch"))
    cores, of_machine = resources.cores(), os.cpu_count() or 1
    if cores < of_machine:
        hints.append(f"{cores} of {of_machine} CPUs: more are kept from this process by its batch system or container")
    if native.simd_level() < 2:
        hints.append(f"{_SETS[native.simd_level()]} is used: decoding is fastest on CPUs with AVX2 (x86-64)")
    disks = list(_disks())
    if any(disk.path == "/dev/shm" and disk.free_bytes < 1 << 30 for disk in disks):
        hints.append(
            "/dev/shm has less than 1 GB: DataLoader workers need it (docker run --ipc=host, or --shm-size 8g)"
        )
    return Diagnosis(
        version=_version("genimage-stream") or "(sources on the path)",
        place=str(Path(__file__).parent),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        instruction_set=_SETS[native.simd_level()],
        libraries={**native.library_versions(), "numpy": np.__version__, "pyarrow": pa.__version__},
        cpu=cpu_name(),
        cores=cores,
        machine_cores=of_machine,
        memory_bytes=resources.memory_bytes(),
        load=round(os.getloadavg()[0], 2),
        disks=disks,
        gpus=gpus,
        packages=packages,
        faults=list(_wrong_pixels()),
        hints=hints,
    )


def lines(found: Diagnosis) -> Iterator[str]:
    """The diagnosis as one screen of text."""
    libraries = ", ".join(f"{name} {version}" for name, version in found.libraries.items())
    yield f"genimage-stream {found.version} in {found.place}"
    yield f"{found.python}, {found.system}"
    yield f"{found.instruction_set}; {libraries}"
    yield ""
    yield f"CPU     {found.cores} of {found.machine_cores} ({found.cpu}), load {found.load}"
    yield f"memory  {size(found.memory_bytes)}"
    for disk in found.disks:
        yield f"disk    {size(disk.free_bytes)} free in {disk.path}{f' ({disk.kind})' if disk.kind else ''}"
    yield f"GPU     {', '.join(found.gpus) or 'none'}"
    yield ""
    for one in found.packages:
        state = "missing" if one.version is None else one.version if one.fault is None else "broken"
        yield f"{one.name:<15}{state:<13}{one.needed_for}"
    if missing := [one.install for one in found.packages if one.version is None]:
        yield f"what is missing comes by: pip install {shlex.join(missing)}"
    yield ""
    for one in found.packages:
        if one.fault is not None:
            yield f"{one.name}: {one.fault}"
    yield from found.hints
    yield from found.faults or ["the installation works: its pixels are right on this machine"]


def _package(module: str, distributions: tuple[str, ...], needed_for: str, install: str) -> Package:
    version = next(filter(None, map(_version, distributions)), None)
    if version is not None:
        return Package(module, version, needed_for, install, _fault(module))
    there = find_spec(module.partition(".")[0]) is not None and find_spec(module) is not None
    return Package(module, "unknown" if there else None, needed_for, install)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _fault(module: str) -> str | None:
    """Why an installed package cannot be used; the two that are linked with much are imported."""
    try:
        if module == "torch":
            import torch  # noqa: F401
        elif module == "nvidia.dali":
            from genimage_stream.backends.dali_options import load_dali

            load_dali()
        elif find_spec(module) is None:
            return f"its files are missing: pip install --force-reinstall {module}"
    except Exception as error:  # whatever a broken installation raises
        return f"it is installed and cannot be loaded: {error}"
    return None


def _gpus(torch_package: Package) -> tuple[list[str], list[str]]:
    """The names of the GPUs that PyTorch can use, and why it can use none where there are some."""
    driver = Path("/proc/driver/nvidia/version").exists()
    if torch_package.version is None or torch_package.fault is not None:
        return [], ["an NVIDIA driver is there; without PyTorch the GPU is not used"] * driver
    import torch

    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    if driver and not names:
        kind = "its build for CPUs" if torch.version.cuda is None else f"its build for CUDA {torch.version.cuda}"
        return [], [f"an NVIDIA driver is there, and PyTorch {torch_package.version}, {kind}, sees no GPU"]
    return names, []


def _disks() -> Iterator[Disk]:
    for path in dict.fromkeys((str(Path.cwd()), tempfile.gettempdir(), "/dev/shm")):
        try:
            yield Disk(path, file_system(path), shutil.disk_usage(path).free)
        except OSError:  # there is none
            continue


def _wrong_pixels() -> Iterator[str]:
    """A PNG and a round trip through JPEG, with this machine's instructions and without."""
    from genimage_stream import transforms

    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    level = native.simd_level()
    steps = [transforms.Resize(32), transforms.JPEG(75)]
    try:
        quick = decode(encode_png(picture)), transforms.apply(picture, steps)
        native.set_simd_level(0)
        plain = decode(encode_png(picture)), transforms.apply(picture, steps)
    finally:
        native.set_simd_level(level)
    if not np.array_equal(quick[0], picture) or not all(map(np.array_equal, quick, plain)):
        yield f"wrong pixels with {_SETS[level]} on this machine: please report it with this page"
