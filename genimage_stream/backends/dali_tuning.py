"""Find how DALI works fastest on this machine, once, by a short measured search; remembered in the user's cache folder.

The search goes from the default along one option at a time and keeps what is faster, which finds a good setting in
about a dozen short runs; the options hardly depend on each other. Of several processes on one machine (the ranks of a
run, say) one searches while the others wait, and take what it found.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from genimage_stream.backends.dali_options import DaliOptions, load_dali
from genimage_stream.resources import cores

_GAIN = 1.02  # a difference below this is noise
_SEARCHED = ("hw_decoder_load", "threads", "ahead")  # as they are remembered
_MOST_THREADS = 16  # of DALI's own: what more do is noise, and each trial takes its second


@dataclass(frozen=True)
class Work:
    """What is tuned for. `threads` and `prefetch` are those given to the loader, None by default."""

    device: torch.device
    batch_size: int
    crop: tuple[int, int]
    output: str
    threads: int | None
    prefetch: int | None
    crop_ready: bool


class Images(Sized, Protocol):
    """A batch of a trial."""

    images: torch.Tensor


class Trial(Sized, Protocol):
    """A loader: each `iter` is an epoch of `len` batches."""

    def __iter__(self) -> Iterator[Images]: ...


def search(rate: Callable[[DaliOptions], float], *, on_gpu: bool, cpus: int) -> tuple[DaliOptions, dict[str, float]]:
    """The fastest options found and the rate of every setting tried. `rate` measures one: images per second."""
    tried: dict[DaliOptions, float] = {}

    def measured(options: DaliOptions) -> float:
        if options not in tried:
            tried[options] = rate(options)
        return tried[options]

    best = DaliOptions()
    # Threads first: with too few of them the decoder's hardware and its kernels starve alike.
    most = max(2, min(cpus, _MOST_THREADS))
    choices: dict[str, tuple[float, ...]] = {"threads": (*(n for n in (1, 2, 4, 8) if n < most), most)}
    if on_gpu:
        choices["hw_decoder_load"] = (0.5, 0.7, 0.9, 1.0)
    choices["ahead"] = (1, 2, 3, 5)
    for name, values in choices.items():
        for value in values:
            candidate = replace(best, **{name: value})  # type: ignore[arg-type]
            if measured(candidate) > measured(best) * _GAIN:
                best = candidate
    return best, {json.dumps(asdict(options)): value for options, value in tried.items()}


def tuned(
    trial: Callable[[DaliOptions], Trial], work: Work, *, seconds: float = 0.7, cache: Path | None = None
) -> DaliOptions:
    """Options for this device, CPUs, DALI and work: those remembered, or else found by `trial`s, loaders with the given
    options, which run for about `seconds` each. `cache`: the file to remember them in, by default in the user's cache
    folder; one that cannot be read or written, or holds nonsense, costs the search, nothing else. Raises what a trial
    raises that cannot read the dataset."""
    on_gpu = work.device.type == "cuda"
    cpus = cores()
    where = torch.cuda.get_device_name(work.device) if on_gpu else "cpu"
    about = {name: value for name, value in vars(work).items() if name != "device"}
    key = json.dumps([where, cpus, load_dali().__version__, about])
    path = cache or default_cache()

    def rate(options: DaliOptions) -> float:
        return images_per_second(trial(options), seconds)

    if (known := _options(_read(path).get(key))) is not None:
        return known
    with _alone(path):
        if (known := _options(_read(path).get(key))) is not None:
            return known  # found by another process meanwhile
        rate(DaliOptions())  # what is measured first would read from the disk, the others from memory
        best, _ = search(rate, on_gpu=on_gpu, cpus=cpus)
        _write(path, {**_read(path), key: {name: getattr(best, name) for name in _SEARCHED}})
    return best


def default_cache() -> Path:
    """In the cache folder of the XDG base directory specification."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "genimage-stream" / "dali.json"


def images_per_second(trial: Trial, seconds: float) -> float:
    """The speed of a loader, over as many epochs as `seconds` take."""
    images, begun = 0, 0.0
    while True:
        for number, batch in enumerate(trial):
            if not begun and number >= min(2, len(trial) - 1):  # the first batches build the pipeline
                begun = time.perf_counter()
            elif begun:
                images += len(batch)
                if time.perf_counter() - begun >= seconds:
                    if batch.images.is_cuda:
                        torch.cuda.synchronize(batch.images.device)
                    return images / (time.perf_counter() - begun)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; on a file system without locks, or read-only, everybody."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(path.with_suffix(".lock"), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _options(kept: Any) -> DaliOptions | None:
    """What was remembered, if it is something that DALI can work with."""
    if not isinstance(kept, dict) or kept.keys() != set(_SEARCHED):
        return None
    load, *counts = (kept[name] for name in _SEARCHED)
    if not isinstance(load, (int, float)) or not 0 <= load <= 1:
        return None
    if any(type(n) is not int or not 1 <= n <= 1024 for n in counts):
        return None
    return DaliOptions(**kept)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(known, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        pass  # found again the next time
