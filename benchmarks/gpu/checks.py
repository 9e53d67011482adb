"""Compares the GPU's pixels with the CPU's. Each comparison runs in a process of its own: one that hangs, or breaks
CUDA, must not cost the figures."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.client import Process
from benchmarks.gpu.setting import Setting
from genimage_stream.bench.process import ContestantError

_SAMPLES = 1024
#: Of mean differences of JPEGs on a GPU, whose decoder rounds otherwise. A window in another place is beyond.
_MEAN = 2.0


@dataclass
class Checked:
    """`correct`: whether all pixels are equal that must be; None when something could not be compared and nothing else
    was wrong, or when nothing was compared yet. `sections` and `data`: for the results."""

    correct: bool | None = None
    sections: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def run(folders: dict[str, Path], setting: Path, *, dali: bool, patience: float) -> Checked:
    """Copies of the first folder's images, and DALI's pixels of each; side by side, `patience` seconds for all."""
    end = time.monotonic() + patience
    asked = {"copies": ("copies", next(iter(folders.values())))}
    asked |= {f"pixels-{name}": ("pixels", folder) for name, folder in folders.items() if dali}
    found, verdicts = Checked(), []
    processes = {name: Process(name, setting) for name in asked}
    try:
        for name, process in processes.items():
            with contextlib.suppress(ContestantError):  # it is raised again below
                process.send(do=asked[name][0], folder=str(asked[name][1]))
        for name, process in processes.items():
            answer: dict[str, Any] | None = None
            try:
                process.answer(end - time.monotonic())  # that it is there
                answer = process.answer(end - time.monotonic())
            except ContestantError as error:
                verdict, text = None, f"Not compared: {error}"
            else:
                verdict, text = answer["correct"], answer["text"]
            verdicts.append(verdict)
            found.sections[_heading(name)] = text
            if name != "copies":
                found.data[f"fidelity_{name.removeprefix('pixels-')}"] = answer and answer["streams"]
    finally:
        Process.close_all([*processes.values()])
    found.correct = False if False in verdicts else None if None in verdicts else True
    return found


def _heading(name: str) -> str:
    if name == "copies":
        return "Decoded on the CPU, copied to the device"
    return f"Pixels against the CPU's, {name.removeprefix('pixels-')} shards"


# -- in the processes --------------------------------------------------------------------------------------------------


def answer(setting: Setting, request: dict[str, Any]) -> dict[str, Any]:
    """{"do": "copies" or "pixels", "folder"}: a verdict and a text."""
    import genimage_stream as gs

    dataset = gs.open_dataset(request["folder"])
    return copies(dataset, setting) if request["do"] == "copies" else pixels(dataset, setting)


def copies(dataset: Any, setting: Setting) -> dict[str, Any]:
    import torch

    import genimage_stream as gs

    options: dict[str, Any] = {"crop": setting.crop, "output": "float32", "on_error": "skip"}
    host, device = gs.Loader(dataset, 64, **options), gs.Loader(dataset, 64, device=setting.device, **options)
    pairs = zip(range(4), host, device, strict=False)
    equal = all(torch.equal(a.images, b.images.cpu()) for _, a, b in pairs)
    return {"correct": equal, "text": "bit-equal" if equal else "DIFFERENT: this is a defect"}


def pixels(dataset: Any, setting: Setting) -> dict[str, Any]:
    import genimage_stream as gs
    from genimage_stream.backends.differences import as_table

    streams = gs.fidelity(dataset, crop=setting.crop, device=setting.device, samples=_SAMPLES)
    # PNGs are decoded by the same code everywhere, and without a GPU JPEGs by its equal.
    jpegs = dataset.select(formats=["jpeg"]).counts() if setting.on_gpu else {}
    by_gpu = {"real" if label == "real" else generator for generator, _, label in jpegs}
    right = all(one.mean <= _MEAN if one.stream in by_gpu else one.largest == 0 for one in streams)
    finished = finished_alike(dataset, setting)
    bound = f" JPEGs of the GPU's decoder may differ by {_MEAN:g} in the mean." if setting.on_gpu else ""
    words = ["DIFFERENT: this is a defect", "as they should be"]
    text = [f"{as_table(streams)}\n", f"They are {words[right]}.{bound}"]
    if finished is not None:
        text.append(f"PNGs as float16, channels last, finished on the device: {'bit-equal' if finished else words[0]}.")
    correct = right and finished is not False
    return {"correct": correct, "text": "\n".join(text), "streams": [asdict(stream) for stream in streams]}


def finished_alike(dataset: Any, setting: Setting) -> bool | None:
    """Whether what the device makes of uint8 is what the host does, in the form that is measured; of PNGs, whose pixels
    are the same on both. None without any."""
    import torch

    import genimage_stream as gs

    pngs = dataset.select(formats=["png"])
    if not len(pngs):
        return None
    options: dict[str, Any] = {"crop": setting.crop, "output": "float16", "channels_last": True, "on_error": "skip"}
    host = gs.Loader(pngs, 64, flip=True, **options)
    device = gs.Loader(pngs, 64, flip=True, backend="dali", device=setting.device, **options)
    pairs = list(zip(range(4), host, device, strict=False))
    same = all(a.images.stride() == b.images.stride() for _, a, b in pairs)
    return bool(pairs) and same and all(torch.equal(a.images, b.images.cpu()) for _, a, b in pairs)
