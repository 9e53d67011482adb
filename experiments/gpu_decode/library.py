"""Builds the kernels, for a GPU or for the emulation, and calls them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.needs import NotReadyError
from experiments.gpu_decode.jpeg_plan import JpegPlan
from experiments.gpu_decode.png_plan import PngPlan

HERE = Path(__file__).parent
SOURCES = ("png_bands", "jpeg_intervals")
_NVCC = ("nvcc", "-arch=native", "-Xcompiler", "-fPIC")
#: Where CUDA's compiler is when it is not on the path.
_CUDA = os.pathsep.join(f"{root}/bin" for root in (os.environ.get("CUDA_HOME", ""), "/usr/local/cuda") if root)
_EMULATION = ("g++", "-fPIC", "-Wall", "-Wextra", "-x", "c++", "-include", str(HERE / "emulated_warp.hpp"))


def build(folder: Path, source: str, *options: str, emulated: bool = False) -> Any:
    """One of SOURCES as a library, put into `folder`; `options` are the compiler's. Raises NotReadyError, saying why,
    where there is no compiler or it fails."""
    name, *fixed = _EMULATION if emulated else _NVCC
    compiler = shutil.which(name) or shutil.which(name, path=_CUDA)
    if compiler is None:
        raise NotReadyError(f"{name} is not installed: " + ("a C++ compiler" if emulated else "CUDA's compiler"))
    path = folder / f"{source}{'-emulated' if emulated else ''}.so"
    done = subprocess.run(
        [compiler, *fixed, *options, "-std=c++17", "-O3", "-shared", str(HERE / f"{source}.cu"), "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][-5:]
        raise NotReadyError(f"{name} could not build {source}.cu: " + "\n".join(said))
    return ctypes.CDLL(str(path))


class OnDevice(ABC):
    """A plan in (page-locked) memory of the host, to be sent to the device and decoded there: to `out`, uint8
    (images, 3, height, width); `damaged`, int32 (images,), is set where an image's data is in doubt."""

    def __init__(self, parts: Sequence[Any], shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.device, self._on_gpu = device, device.type == "cuda"
        host = [torch.from_numpy(part.view("u1").reshape(-1).copy()) for part in parts]
        self.host = [part.pin_memory() for part in host] if self._on_gpu else host
        self.out = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.damaged = torch.zeros(shape[0], dtype=torch.int32, device=device)
        self._sent = self.host

    def send(self) -> None:
        self._sent = [part.to(self.device, non_blocking=True) for part in self.host]

    def decode(self) -> None:
        """Queue it on the current stream. Raises RuntimeError when CUDA does not take it."""
        stream = torch.cuda.current_stream(self.device).cuda_stream if self._on_gpu else 0
        if error := self.launch([ctypes.c_void_p(part.data_ptr()) for part in self._sent], ctypes.c_void_p(stream)):
            raise RuntimeError(f"CUDA did not start the kernel: error {error}")

    @abstractmethod
    def launch(self, parts: Sequence[Any], stream: Any) -> int:
        """Queue the kernels on a stream. What CUDA says; 0 is well."""


class Pngs(OnDevice):
    """`library` is that of png_bands."""

    def __init__(self, library: Any, made: PngPlan, shape: tuple[int, int, int, int], device: torch.device) -> None:
        super().__init__((made.bands, made.rows, made.lengths, made.data), shape, device)
        self._library, self._count = library, len(made.bands)

    def launch(self, parts: Sequence[Any], stream: Any) -> int:
        out, damaged = (ctypes.c_void_p(one.data_ptr()) for one in (self.out, self.damaged))
        bands, *others = parts
        error: int = self._library.launch_decode_bands(
            bands, self._count, *others, *self.out.shape[2:], out, damaged, stream
        )
        return error


class Jpegs(OnDevice):
    """`library` is that of jpeg_intervals."""

    def __init__(self, library: Any, made: JpegPlan, shape: tuple[int, int, int, int], device: torch.device) -> None:
        super().__init__((made.intervals, made.pictures, made.tables, made.data), shape, device)
        self._library, self._plan = library, made
        self._coefficients = torch.empty(64 * made.blocks, dtype=torch.int16, device=device)
        self._samples = torch.empty(made.samples, dtype=torch.uint8, device=device)

    def launch(self, parts: Sequence[Any], stream: Any) -> int:
        made, (intervals, pictures, tables, data) = self._plan, parts
        memory = (self._coefficients, self._samples, self.out, self.damaged)
        coefficients, samples, out, damaged = (ctypes.c_void_p(one.data_ptr()) for one in memory)
        error: int = self._library.launch_decode_intervals(
            *(intervals, len(made.intervals), pictures, len(made.pictures), tables, data, made.most_blocks),
            *(coefficients, ctypes.c_size_t(self._coefficients.nbytes), samples),
            *(*self.out.shape[2:], out, damaged, stream),
        )
        return error
