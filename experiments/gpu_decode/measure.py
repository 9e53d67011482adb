"""Measures whether a GPU decodes crops of crop-ready shards faster than the CPUs do:

    python -m experiments.gpu_decode.measure DATASET [--device cuda:0] [--threads N]

DATASET was packed with --crop-ready. Both sides begin with files in memory and end with crops, uint8, on the device:
the CPUs decode and copy pixels, the GPU gets the compressed bands or restart intervals and decodes. What the host has
to do for the GPU before, checking and listing them, is not counted: it exists in Python only. Prints a
line of JSON for each kind of image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import genimage_stream as gs
from benchmarks import harness
from experiments.gpu_decode.jpeg_plan import plan_jpegs
from experiments.gpu_decode.library import SOURCES, Jpegs, OnDevice, Pngs, build
from experiments.gpu_decode.plan import Window
from experiments.gpu_decode.png_plan import plan_pngs
from genimage_stream.decode import BatchDecoder
from genimage_stream.resources import cores


@dataclass(frozen=True)
class Found:
    """Of one kind of image, in images per second: the CPUs' `cpu`, the GPU's `gpu`, its kernels alone; `times` is gpu
    over cpu, by round; `sent`, bytes to the GPU for an image. `equal`: whether every crop is the CPU's, bit for bit.
    `left` of the `images` are none for the kernels; where that is all of them, nothing is measured."""

    kind: str
    images: int
    left: int
    cpu: float = 0.0
    gpu: float = 0.0
    kernel: float = 0.0
    times: tuple[float, ...] = ()
    sent: float = 0.0
    equal: bool = True


@dataclass(frozen=True)
class How:
    device: torch.device
    rounds: int
    repeat: int
    decoder: BatchDecoder
    libraries: dict[str, Any]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def timed(self, run: Callable[[], object]) -> Callable[[], None]:
        def several() -> None:
            for _ in range(self.repeat):
                run()
            self.wait()

        return several


def prepare(files: Sequence[bytes], windows: Sequence[Window], how: How) -> tuple[OnDevice | None, dict[int, str]]:
    """The batch for the kernels, and what they leave to the CPU; None where that is everything."""
    shape = (len(files), 3, windows[0].height, windows[0].width)
    if gs.inspect(files[0]).format == "png":
        pngs = plan_pngs(files, windows)
        made = Pngs(how.libraries["png_bands"], pngs, shape, how.device) if len(pngs.bands) else None
        return made, pngs.left
    jpegs = plan_jpegs(files, windows)
    made_jpegs = Jpegs(how.libraries["jpeg_intervals"], jpegs, shape, how.device) if len(jpegs.pictures) else None
    return made_jpegs, jpegs.left


def compare(kind: str, files: Sequence[bytes], windows: Sequence[Window], how: How) -> Found:
    """One batch, again and again."""
    work, left = prepare(files, windows, how)
    if work is None:
        return Found(kind, len(files), len(left))
    pixels = torch.empty(work.out.shape, dtype=torch.uint8, pin_memory=how.device.type == "cuda")
    crops = np.array([window[:2] for window in windows], np.int32)
    flips = np.array([window.mirrored for window in windows], np.uint8)

    def on_cpus() -> torch.Tensor:
        if errors := how.decoder.decode_batch(files, pixels, crops=crops, flips=flips):
            raise ValueError(f"{kind}: {errors[0].message}")
        return pixels.to(how.device, non_blocking=True)

    def by_the_gpu() -> None:
        work.send()
        work.decode()

    by_the_gpu()
    wanted = on_cpus()
    how.wait()
    taken = [image for image in range(len(files)) if image not in left]
    equal = bool(torch.equal(work.out[taken], wanted[taken])) and not bool(work.damaged.any())
    contestants = [
        harness.Contestant("cpu", how.timed(on_cpus), how.repeat * len(files)),
        harness.Contestant("gpu", how.timed(by_the_gpu), how.repeat * len(taken)),
        harness.Contestant("kernel", how.timed(work.decode), how.repeat * len(taken)),
    ]
    found = harness.measure(contestants, rounds=how.rounds)
    return Found(
        kind,
        len(files),
        len(left),
        cpu=found["cpu"].rate,
        gpu=found["gpu"].rate,
        kernel=found["kernel"].rate,
        times=found["gpu"].ratios(found["cpu"]),
        sent=sum(part.nbytes for part in work.host) / len(taken),
        equal=equal,
    )


def random_windows(sizes: Sequence[tuple[int, int]], crop: int, seed: int) -> list[Window]:
    chance = np.random.default_rng(seed)
    corners = [(chance.integers(width - crop + 1), chance.integers(height - crop + 1)) for width, height in sizes]
    return [Window(int(x), int(y), crop, crop, bool(chance.integers(2))) for x, y in corners]


def kinds(dataset: Any, crop: int, images: int) -> dict[str, tuple[list[bytes], list[tuple[int, int]]]]:
    """Files and sizes of JPEGs, and of PNGs by their side, that a crop fits into; few come again and again."""
    import pyarrow.compute as pc

    table = dataset.select(formats=["jpeg", "png"]).table(["shard", "offset", "size", "width", "height", "format"])
    is_jpeg = pc.equal(table["format"].cast("string"), "jpeg")
    wanted = pc.greater_equal(pc.min_element_wise(table["width"], table["height"]), crop)
    wanted = pc.and_(wanted, pc.or_(is_jpeg, pc.equal(table["width"], table["height"])))
    names = pc.if_else(is_jpeg, "JPEG", pc.binary_join_element_wise("PNG", table["width"].cast("string"), " "))
    by_kind = {
        kind: table.filter(pc.and_(wanted, pc.equal(names, kind))).slice(0, images).to_pylist()
        for kind in pc.unique(names.filter(wanted)).to_pylist()
    }
    found = {}
    for kind, rows in sorted(by_kind.items(), key=lambda item: (len(item[0]), item[0])):
        files = [_read(Path(dataset.path) / row["shard"], row["offset"], row["size"]) for row in rows]
        places = [i % len(rows) for i in range(images)]
        found[kind] = [files[i] for i in places], [(rows[i]["width"], rows[i]["height"]) for i in places]
    return found


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def measure(
    folder: Path, device: str, *, threads: int, crop: int = 224, images: int = 256, rounds: int = 7, repeat: int = 20
) -> Iterator[Found | str]:
    """For every kind of the dataset's images, as it comes; where one fails, what was wrong. On the CPU the kernels are
    emulated, to see that they are right."""
    where = torch.device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)  # whose streams and libraries are meant when none is named
    with tempfile.TemporaryDirectory() as scratch, BatchDecoder(threads) as decoder:
        libraries = {source: build(Path(scratch), source, emulated=where.type == "cpu") for source in SOURCES}
        how = How(where, rounds, repeat, decoder, libraries)
        for kind, (files, sizes) in kinds(gs.open_dataset(folder), crop, images).items():
            try:
                yield compare(kind, files, random_windows(sizes, crop, seed=len(files)), how)
            except Exception as error:  # of CUDA, mostly
                yield f"{kind}: {type(error).__name__}: {error}".splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument(
        "--device", default="cuda:0", help="cuda:0; on cpu the kernels are emulated: figures say nothing"
    )
    parser.add_argument("--threads", type=int, default=cores())
    for name, default in (("crop", 224), ("images", 256), ("rounds", 7), ("repeat", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    for found in measure(given.pop("dataset"), given.pop("device"), **given):
        print(json.dumps(found if isinstance(found, str) else asdict(found)), flush=True)


if __name__ == "__main__":
    main()
