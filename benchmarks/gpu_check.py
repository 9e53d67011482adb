"""Correctness and throughput on a machine with an NVIDIA GPU, in one command:

    python -m benchmarks.gpu_check --plain DST --crop-ready DST2  # the same images, without and with --crop-ready
    python -m benchmarks.gpu_check                                # makes and packs stand-ins first

It builds the extension if it is missing, compares GPU and CPU pixels, measures this loader beside DALI's own webdataset
reader and webdataset + Pillow (all streams together, reals alone, fakes alone), reads the GPU's and the CPU's use
meanwhile, trains a ResNet-50 step from the stream, and writes `results/gpu.json` and `.md`. Without a GPU, or with
`--device cpu`, everything runs in CPU mode and the results are called `gpu-check-cpu-mode`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Setting:
    device: str  # "cuda:0" or "cpu"
    batch_size: int
    crop: int
    seconds: float
    threads: int

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"


@dataclass(frozen=True)
class Rate:
    """One contestant on one stream: images per second, CPUs kept busy, and the GPU's use in percent (None: no GPU)."""

    contestant: str
    stream: str
    images_per_second: float
    cpus: float
    gpu_percent: float | None
    decoder_percent: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", type=Path, help="a packed dataset")
    parser.add_argument("--crop-ready", type=Path, help="the same images packed with --crop-ready")
    parser.add_argument("--device", help="cuda:0 or cpu; by default the GPU if there is one")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=8.0, help="per contestant and stream")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    a = parser.parse_args()
    build()
    import torch

    device = a.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    setting = Setting(device, a.batch_size, a.crop, a.seconds, a.threads)
    with tempfile.TemporaryDirectory() as scratch:
        plain, crop_ready = (a.plain, a.crop_ready) if a.plain else make_datasets(Path(scratch))
        return check(setting, plain, crop_ready, a.results)


def build() -> None:
    """The extension, if this checkout has none for this interpreter."""
    try:
        import genimage_stream  # noqa: F401
    except ImportError:
        subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=ROOT, check=True)


def make_datasets(scratch: Path) -> tuple[Path, Path]:
    """The demo's stand-ins, packed twice."""
    from demo.tree import make_tree

    make_tree(scratch / "tree")
    made = []
    for name, options in (("plain", []), ("crop-ready", ["--crop-ready"])):
        command = [sys.executable, "-m", "shard_tools", "pack", str(scratch / "tree"), str(scratch / name), *options]
        subprocess.run(command, cwd=ROOT, check=True)
        made.append(scratch / name)
    return made[0], made[1]


# -- contestants: each gives (images on the device, labels) for ever --------------------------------------------------

Stream = Callable[[], Iterator[Any]]


def ours(dataset: Any, setting: Setting, backend: str, output: str = "float16") -> Stream:
    import genimage_stream as gs

    options: dict[str, Any] = {"tune": True} if backend == "dali" else {}
    loader = gs.Loader(
        dataset,
        setting.batch_size,
        crop=setting.crop,
        flip=True,
        threads=setting.threads,
        backend=backend,  # type: ignore[arg-type]
        device=setting.device,
        output=output,  # type: ignore[arg-type]
        on_error="skip",
        **options,
    )

    def stream() -> Iterator[Any]:
        while True:
            for batch in loader:
                yield batch.images, batch.labels

    return stream


def dali_alone(folder: Path, shards: list[str], setting: Setting) -> Stream:
    """DALI as its documentation shows it: readers.webdataset, mixed decoder with a random crop, all on the GPU."""
    import torch
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator

    gpu = setting.on_gpu

    @pipeline_def(batch_size=setting.batch_size, num_threads=setting.threads, device_id=0 if gpu else None)
    def pipeline() -> Any:
        encoded, label = fn.readers.webdataset(
            paths=[str(folder / s) for s in shards],
            index_paths=[str(folder / s.removesuffix(".tar")) + ".idx" for s in shards],
            ext=["jpg;png", "cls"],
            random_shuffle=True,
            initial_fill=1000,
            missing_component_behavior="error",
            name="reader",
        )
        size = fn.peek_image_shape(encoded)
        side = fn.cast(fn.reductions.min(size[:2]), dtype=types.INT32)
        window = fn.stack(*[fn.cast(math_min(side, setting.crop), dtype=types.INT64)] * 2)
        images = fn.decoders.image_slice(
            encoded,
            fn.random.uniform(range=[0.0, 1.0], shape=[2]) * fn.cast(size[:2] - window, dtype=types.FLOAT),
            fn.cast(window, dtype=types.FLOAT),
            axes=[0, 1],
            normalized_anchor=False,
            normalized_shape=False,
            device="mixed" if gpu else "cpu",
            output_type=types.RGB,
        )
        images = fn.crop_mirror_normalize(
            images,
            crop=(setting.crop, setting.crop),
            out_of_bounds_policy="pad",
            dtype=types.FLOAT16,
            output_layout="CHW",
            mirror=fn.random.coin_flip(),
            mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
            std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
        )
        return images, label

    def math_min(a: Any, b: int) -> Any:
        from nvidia.dali import math

        return math.min(a, b)

    built = pipeline()
    iterator = DALIGenericIterator([built], ["images", "label"], reader_name="reader", auto_reset=True)

    def stream() -> Iterator[Any]:
        while True:
            for (batch,) in iterator:
                yield batch["images"], torch.empty(len(batch["images"]))

    return stream


def webdataset_pillow(folder: Path, shards: list[str], setting: Setting) -> Stream:
    from benchmarks.peers import Work
    from benchmarks.peers.webdataset_pillow import open_stream

    paths = tuple(str(folder / s) for s in shards)
    work = Work(
        str(folder), paths, 0, "", "", setting.crop, setting.batch_size, max(1, min(setting.threads, len(paths)))
    )
    epoch = open_stream(work)

    def stream() -> Iterator[Any]:
        while True:
            for images, labels in epoch():
                yield images.to(setting.device, non_blocking=True), labels

    return stream


# -- measuring ---------------------------------------------------------------------------------------------------------


class GpuUse:
    """Samples nvidia-smi while the block runs: mean use of the GPU's cores and of its JPEG decoder, in percent."""

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()

    def __enter__(self) -> GpuUse:
        if self._on_gpu:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._on_gpu:
            self._thread.join()

    def _watch(self) -> None:
        query = [
            "nvidia-smi",
            "--query-gpu=utilization.gpu,utilization.jpeg",
            "--format=csv,noheader,nounits",
            "-i",
            "0",
        ]
        while not self._stop.wait(0.5):
            try:
                answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split(",")
                self._samples.append((float(answer[0]), float(answer[1])))
            except (OSError, ValueError, subprocess.CalledProcessError):
                return

    def mean(self, which: int) -> float | None:
        return sum(s[which] for s in self._samples) / len(self._samples) if self._samples else None


def rate(name: str, stream_name: str, stream: Stream, setting: Setting) -> Rate:
    batches = stream()
    for _ in range(3):
        next(batches)
    synchronize(setting)
    begin, cpu = time.perf_counter(), sum(os.times()[:4])
    images = 0
    with GpuUse(setting.on_gpu) as use:
        while time.perf_counter() - begin < setting.seconds:
            images += len(next(batches)[0])
        synchronize(setting)
    wall = time.perf_counter() - begin
    cpus = (sum(os.times()[:4]) - cpu) / wall
    batches.close()  # type: ignore[attr-defined]
    return Rate(name, stream_name, images / wall, cpus, use.mean(0), use.mean(1))


def synchronize(setting: Setting) -> None:
    if setting.on_gpu:
        import torch

        torch.cuda.synchronize()


def waiting_share(stream: Stream, setting: Setting) -> float:
    """The share of the time that a ResNet-50 training step in half precision waits for data."""
    import torch

    from benchmarks.resnet import resnet50

    model = resnet50(2).to(setting.device, memory_format=torch.channels_last).half()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    batches = stream()
    waited = begin = 0.0
    for step in range(43):
        if step == 3:
            synchronize(setting)
            waited, begin = 0.0, time.perf_counter()
        at = time.perf_counter()
        images, labels = next(batches)
        waited += time.perf_counter() - at
        loss = torch.nn.functional.cross_entropy(model(images).float(), labels.to(setting.device) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        synchronize(setting)
    batches.close()  # type: ignore[attr-defined]
    return waited / (time.perf_counter() - begin)


def check(setting: Setting, plain: Path, crop_ready: Path | None, results: Path) -> int:
    import torch

    import genimage_stream as gs
    from benchmarks.harness import versions, write_results
    from genimage_stream.fidelity_report import as_table

    folders = {"plain": plain, **({"crop-ready": crop_ready} if crop_ready else {})}
    sections: dict[str, str] = {}
    data: dict[str, Any] = {"setting": vars(setting)}
    copied = bit_equal_copy(gs.open_dataset(plain), setting)
    has_dali = find_spec("nvidia.dali") is not None
    for name, folder in folders.items() if has_dali else ():
        streams = gs.fidelity(gs.open_dataset(folder), crop=setting.crop, device=setting.device, samples=1024)
        sections[f"Pixels against the CPU's, {name} shards"] = as_table(streams)
        data[f"fidelity_{name}"] = [vars(s) for s in streams]
    sections["Decoded on the CPU, copied to the device"] = "bit-equal" if copied else "DIFFERENT: this is a defect"

    rows: list[Rate] = []
    for stream_name, labels in (("mixed", None), ("reals", ["real"]), ("fakes", ["fake"])):
        for name, folder in folders.items():
            dataset = gs.open_dataset(folder).select(labels=labels)
            for backend in ("dali", "cpu") if has_dali else ("cpu",):
                title = f"genimage-stream, {backend}, {name}"
                rows.append(rate(title, stream_name, ours(dataset, setting, backend), setting))
                print(rows[-1], flush=True)
        if labels is None:
            shards = gs.open_dataset(plain).shards()[1]
            if has_dali:
                rows.append(rate("DALI's own pipeline, plain", "mixed", dali_alone(plain, shards, setting), setting))
                print(rows[-1], flush=True)
            if find_spec("webdataset"):
                peer = webdataset_pillow(plain, shards, setting)
                rows.append(rate("webdataset + Pillow, plain", "mixed", peer, setting))
                print(rows[-1], flush=True)
    data["rates"] = [vars(row) for row in rows]
    sections["Images per second, in ready batches on the device"] = rate_table(rows)

    if setting.on_gpu:
        best = gs.open_dataset(crop_ready or plain)
        share = waiting_share(ours(best, setting, "dali" if has_dali else "cpu"), setting)
        data["waiting_share"] = share
        sections["A ResNet-50 training step in half precision"] = f"waits for data {share:.1%} of the time"
    else:
        sections["Not measured"] = "There was no GPU: these are CPU-mode figures, and say nothing about a GPU."

    facts = [torch.cuda.get_device_name(0)] if setting.on_gpu else ["no GPU (CPU mode)"]
    names = ("genimage-stream", "torch", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "webdataset", "pillow")
    markdown, _ = write_results(
        "gpu" if setting.on_gpu else "gpu-check-cpu-mode",
        "The loader on a GPU" if setting.on_gpu else "The GPU check in CPU mode",
        sections,
        data,
        package_versions=versions(*names),
        remarks=[
            f"Device: {facts[0]}. {setting.crop} crops, batches of {setting.batch_size}, {setting.threads} threads."
        ],
        folder=results,
    )
    print(markdown.read_text())
    return 0 if copied else 1


def bit_equal_copy(dataset: Any, setting: Setting) -> bool:
    import torch

    import genimage_stream as gs

    options: dict[str, Any] = {"crop": setting.crop, "output": "float32", "on_error": "skip"}
    host, device = gs.Loader(dataset, 64, **options), gs.Loader(dataset, 64, device=setting.device, **options)
    pairs = zip(range(4), host, device, strict=False)
    return all(torch.equal(a.images, b.images.cpu()) for _, a, b in pairs)


def rate_table(rows: list[Rate]) -> str:
    lines = ["| | stream | images/s | CPUs busy | GPU | JPEG decoder |", "|---|---|---:|---:|---:|---:|"]

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f} %"

    lines += [
        f"| {r.contestant} | {r.stream} | {r.images_per_second:,.0f} | {r.cpus:.1f} | {percent(r.gpu_percent)} "
        f"| {percent(r.decoder_percent)} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
