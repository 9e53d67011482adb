"""Checks, before anything is measured, that what the GPU check needs is installed, and builds the extension."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = 'docs/dali.md, "On a machine without a network"'

#: Module: what it is for, and how to get it.
ALWAYS = {
    "torch": ("everything", "pip install torch"),
    **dict.fromkeys(("click", "numpy", "pyarrow", "rich"), ("genimage-stream itself", "pip install .")),
}
PEERS = {
    "dali": ("nvidia.dali", 'pip install ".[dali-cuda13]"', 'or ".[dali-cuda12]", by the CUDA version of the driver'),
    "webdataset": ("webdataset", "pip install webdataset pillow", "it is what most people load GenImage with"),
}
STAND_INS = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}


class NotReadyError(RuntimeError):
    """The check cannot begin; says why and what to do."""


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def missing(without: set[str], *, stand_ins: bool) -> list[str]:
    """A sentence for each thing that is not installed. `without`: of PEERS, what to do without."""
    found = [
        f"{name} is not installed, and {use} needs it: {get}"
        for name, (use, get) in ALWAYS.items()
        if not installed(name)
    ]
    found += [
        f"{module} is not installed: {get} ({note}), or leave it out by --without {peer}"
        for peer, (module, get, note) in PEERS.items()
        if peer not in without and not installed(module)
    ]
    if "webdataset" not in without and not stand_ins and not installed("PIL"):
        found.append(
            "PIL is not installed: pip install pillow (webdataset's images are decoded by it), or leave it out by "
            "--without webdataset"
        )
    if stand_ins:
        found += [
            f"{module} is not installed, and the stand-in images are made with it: pip install {package}, or give "
            "--plain and --crop-ready"
            for module, package in STAND_INS.items()
            if not installed(module)
        ]
    return found


def load() -> None:
    """Raises NotReadyError when the extension that is there, if any, does not load."""
    try:
        import genimage_stream.decode  # noqa: F401
    except ImportError as error:
        raise NotReadyError(
            f"the extension does not load: {error}. Without --no-build it is built first, where there is a compiler; "
            f"where there is none, work in the checkout that a bundle brings ({OFFLINE})"
        ) from None


def build(root: Path = ROOT) -> None:
    """The extension: setup.py compiles what has changed. Raises NotReadyError with the compiler's last words."""
    print("gpu_check: building what has changed of the extension", file=sys.stderr, flush=True)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-5:]
        raise NotReadyError(
            "the extension could not be built; --no-build takes the one that is there as it is. "
            + "The build said: "
            + "\n".join(said)
        )
