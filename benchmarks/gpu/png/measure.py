"""Whether a GPU decodes the PNGs of crop-ready shards faster than the CPUs do:

    python -m benchmarks.gpu.png.measure DATASET [--device cuda:0] [--threads N]

DATASET was packed with --crop-ready. Both sides begin with files in memory and end with crops, uint8, on the device:
the CPUs decode and copy pixels, the GPU gets the compressed bands and decodes. What the host has to do for the GPU
before, checking and listing the bands, is not counted: it stands here in Python only (plan.py). Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import genimage_stream as gs
from benchmarks import harness
from benchmarks.gpu.png.library import Library, build
from benchmarks.gpu.png.plan import Plan, Window, plan
from genimage_stream.decode import BatchDecoder


@dataclass(frozen=True)
class Found:
    """Of one kind of PNG, in images per second: the CPUs' `cpu`, the GPU's `gpu`, its kernel alone; `times` is gpu over
    cpu, by round; `sent`, bytes to the GPU for an image. `equal`: whether every crop is the CPU's, bit for bit. `left`
    of the `images` are none for the kernel; where that is all of them, nothing is measured."""

    kind: str
    images: int
    left: int
    cpu: float = 0.0
    gpu: float = 0.0
    kernel: float = 0.0
    times: tuple[float, ...] = ()
    sent: float = 0.0
    equal: bool = True


class OnDevice:
    """A plan in (page-locked) memory of the host, to be sent to the device and decoded there."""

    def __init__(self, library: Library, made: Plan, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.library, self.device, self.count = library, device, len(made.bands)
        self.on_gpu = device.type == "cuda"
        parts = (made.bands, made.rows, made.lengths, made.data)
        host = [torch.from_numpy(part.view(np.uint8).reshape(-1).copy()) for part in parts]
        self.host = [part.pin_memory() for part in host] if self.on_gpu else host
        self.out = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.damaged = torch.zeros(shape[0], dtype=torch.int32, device=device)
        self.sent = self.host

    def send(self) -> None:
        self.sent = [part.to(self.device, non_blocking=True) for part in self.host]

    def decode(self) -> None:
        bands, rows, lengths, data = (part.data_ptr() for part in self.sent)
        stream = torch.cuda.current_stream(self.device).cuda_stream if self.on_gpu else 0
        height, width = self.out.shape[2:]
        out, damaged = self.out.data_ptr(), self.damaged.data_ptr()
        self.library.launch(bands, self.count, rows, lengths, data, (height, width), out, damaged, stream)


def random_windows(sizes: Sequence[tuple[int, int]], crop: int, seed: int) -> list[Window]:
    chance = np.random.default_rng(seed)
    return [
        Window(
            int(chance.integers(width - crop + 1)),
            int(chance.integers(height - crop + 1)),
            crop,
            crop,
            bool(chance.integers(2)),
        )
        for width, height in sizes
    ]


def compare(
    kind: str, files: Sequence[bytes], windows: Sequence[Window], library: Library, decoder: BatchDecoder, **how: Any
) -> Found:
    """One batch, again and again. `how`: device, rounds, repeat."""
    device, on_gpu = how["device"], how["device"].type == "cuda"
    shape = (len(files), 3, windows[0].height, windows[0].width)
    made = plan(files, windows)
    taken = [image for image in range(len(files)) if image not in made.left]
    if not taken:
        return Found(kind, len(files), len(made.left))
    work = OnDevice(library, made, shape, device)
    pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=on_gpu)
    crops = np.array([window[:2] for window in windows], np.int32)
    flips = np.array([window.mirrored for window in windows], np.uint8)

    def on_cpus() -> torch.Tensor:
        if errors := decoder.decode_batch(files, pixels, crops=crops, flips=flips):
            raise ValueError(f"{kind}: {errors[0].message}")
        return pixels.to(device, non_blocking=True)

    def by_the_gpu() -> None:
        work.send()
        work.decode()

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(device)

    by_the_gpu()
    wanted = on_cpus()
    wait()
    equal = bool(torch.equal(work.out[taken], wanted[taken])) and not bool(work.damaged.any())

    def timed(run: Any) -> Any:
        def several() -> None:
            for _ in range(how["repeat"]):
                run()
            wait()

        return several

    count = how["repeat"] * len(taken)
    contestants = [
        harness.Contestant("cpu", timed(on_cpus), how["repeat"] * len(files)),
        harness.Contestant("gpu", timed(by_the_gpu), count),
        harness.Contestant("kernel", timed(work.decode), count),
    ]
    found = harness.measure(contestants, rounds=how["rounds"])
    return Found(
        kind,
        len(files),
        len(made.left),
        cpu=found["cpu"].rate,
        gpu=found["gpu"].rate,
        kernel=found["kernel"].rate,
        times=found["gpu"].ratios(found["cpu"]),
        sent=sum(part.nbytes for part in work.host) / len(taken),
        equal=equal,
    )


def kinds(dataset: Any, crop: int, images: int) -> dict[str, tuple[list[bytes], list[tuple[int, int]]]]:
    """Files and sizes of PNGs that a crop fits into, by their side; few files come again, elsewhere cut."""
    table = dataset.select(formats=["png"]).table(["shard", "offset", "size", "width", "height"]).to_pylist()
    found = {}
    for side in sorted({row["width"] for row in table if row["width"] == row["height"] >= crop}):
        rows = [row for row in table if row["width"] == row["height"] == side][:images]
        files = [_read(Path(dataset.path) / row["shard"], row["offset"], row["size"]) for row in rows]
        again = [files[i % len(files)] for i in range(images)]
        found[f"PNG {side}"] = again, [(side, side)] * images
    return found


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def measure(
    folder: Path, device: str, *, threads: int, crop: int = 224, images: int = 256, rounds: int = 7, repeat: int = 20
) -> list[Found]:
    """For every size of the dataset's PNGs. On the CPU the kernel is emulated, to see that it is right."""
    where = torch.device(device)
    with tempfile.TemporaryDirectory() as scratch, BatchDecoder(threads) as decoder:
        library = build(Path(scratch), emulated=where.type == "cpu")
        return [
            compare(
                kind,
                files,
                random_windows(sizes, crop, seed=len(files)),
                library,
                decoder,
                device=where,
                rounds=rounds,
                repeat=repeat,
            )
            for kind, (files, sizes) in kinds(gs.open_dataset(folder), crop, images).items()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument(
        "--device", default="cuda:0", help="cuda:0; on cpu the kernel is emulated, and figures say little"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    for name, default in (("crop", 224), ("images", 256), ("rounds", 7), ("repeat", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    found = measure(given.pop("dataset"), given.pop("device"), **given)
    print(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
