"""The contestants: each yields (images on the device, labels) without end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import STREAMS, Setting


@dataclass(frozen=True)
class Source:
    """`queued`: how many batches may lie ready when nobody has asked for a while; they are not part of a measurement.
    The iterator's batches are queued on the caller's CUDA stream, or done. `options`: what it chose by itself."""

    batches: Iterator[tuple[Any, Any]]
    queued: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """`needs`: what it is left out with (see `--without`); `folder`: the dataset that it reads; `searches`: whether it
    looks for its best options when it is first opened; `obstacle`: why it cannot run here, or None."""

    title: str
    open: Callable[[Setting, str], Source]
    needs: tuple[str, ...] = ()
    folder: str = "plain"
    streams: tuple[str, ...] = tuple(STREAMS)
    searches: bool = False
    obstacle: Callable[[Setting], str | None] = lambda _: None


_PREFETCH = 8  # so that a few slow images, or a turn of the host's elsewhere, do not leave the GPU without a batch


def ours(backend: str, folder: str) -> Callable[[Setting, str], Source]:
    def open_source(setting: Setting, stream: str) -> Source:
        import genimage_stream as gs
        from genimage_stream.loading.options import CPUS_BESIDE_THE_CORE

        dataset = gs.open_dataset(setting.folders[folder]).select(labels=STREAMS[stream])
        spared = CPUS_BESIDE_THE_CORE if backend == "dali" and setting.on_gpu else 0
        loader = gs.Loader(
            dataset,
            setting.batch_size,
            crop=setting.crop,
            flip=True,
            threads=max(1, setting.threads - spared),
            prefetch=_PREFETCH if setting.on_gpu else None,
            backend=backend,  # type: ignore[arg-type]
            device=setting.device,
            output="float16",
            channels_last=setting.on_gpu,
            drop_last=True,  # a shape of its own would have cuDNN search anew in the middle of training
            on_error="skip",
            tune=backend == "dali" and setting.on_gpu,
        )

        def batches() -> Iterator[tuple[Any, Any]]:
            while True:
                for batch in loader:
                    yield batch.images, batch.labels

        options: dict[str, Any] = {"threads": loader.threads, "prefetch": loader.prefetch}
        return Source(
            batches(), loader.prefetch, options | ({"dali": asdict(loader.dali)} if backend == "dali" else {})
        )

    return open_source


def dali(*, slice_while_decoding: bool) -> Callable[[Setting, str], Source]:
    """DALI as its documentation shows it: readers.webdataset, mixed decoder, random crop, all on the GPU; the crop is
    taken by the decoder or from the whole image. Images that are smaller than the crop are padded."""

    def open_source(setting: Setting, _stream: str) -> Source:
        from nvidia.dali import fn, math, pipeline_def, types
        from nvidia.dali.plugin.pytorch import DALIGenericIterator

        gpu = setting.on_gpu

        @pipeline_def(
            batch_size=setting.batch_size, num_threads=setting.threads, device_id=setting.gpu if gpu else None
        )
        def pipeline() -> Any:
            encoded, label = fn.readers.webdataset(
                paths=list(setting.shards),
                index_paths=[str(Path(shard).with_suffix(".idx")) for shard in setting.shards],
                ext=["jpg;png", "cls"],
                random_shuffle=True,
                initial_fill=1000,
                missing_component_behavior="error",
                name="reader",
            )
            decoding = {"device": "mixed" if gpu else "cpu", "output_type": types.RGB}
            decoding["affine"] = False  # as in genimage_stream/backends/dali.py: in a virtual machine it can end DALI
            position: dict[str, Any] = {}
            if slice_while_decoding:
                size = fn.peek_image_shape(encoded)[:2]
                window = math.min(size, setting.crop)
                room = fn.cast(size - window, dtype=types.FLOAT)
                start = math.floor(room * fn.random.uniform(range=[0.0, 1.0], shape=[2]))
                images = fn.decoders.image_slice(
                    encoded,
                    start=fn.cast(start, dtype=types.INT32),
                    shape=fn.cast(window, dtype=types.INT32),
                    axis_names="HW",
                    **decoding,
                )
            else:
                images = fn.decoders.image(encoded, **decoding)
                position = {f"crop_pos_{axis}": fn.random.uniform(range=[0.0, 1.0]) for axis in "xy"}
            images = fn.crop_mirror_normalize(
                images,
                **position,
                crop=(setting.crop, setting.crop),
                out_of_bounds_policy="pad",
                dtype=types.FLOAT16,
                output_layout="CHW",
                mirror=fn.random.coin_flip(),
                mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
                std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
            )
            return images, fn.cast(label, dtype=types.INT64) - 48  # the label is the text "0" or "1"

        iterator = DALIGenericIterator([pipeline()], ["images", "labels"], reader_name="reader", auto_reset=True)

        def batches() -> Iterator[tuple[Any, Any]]:
            while True:
                for (batch,) in iterator:
                    yield batch["images"], batch["labels"].squeeze(1)

        return Source(batches(), 3)

    return open_source


def _workers(setting: Setting) -> int:
    return max(1, min(setting.threads, len(setting.shards)))


def webdataset(setting: Setting, _stream: str) -> Source:
    from benchmarks.peers import Work
    from benchmarks.peers.webdataset_pillow import open_stream

    shards = setting.shards
    workers = _workers(setting)
    epoch = open_stream(Work(setting.folders["plain"], shards, 0, "", "", setting.crop, setting.batch_size, workers))

    def batches() -> Iterator[tuple[Any, Any]]:
        while True:
            for images, labels in epoch():
                yield images.to(setting.device, non_blocking=True), labels

    return Source(batches(), 2 * workers)


def shared_memory(setting: Setting, folder: str = "/dev/shm") -> str | None:
    """Why webdataset's workers would be ended by SIGBUS, or None: they hand over batches in that folder, float32, two
    lying ready for each and two that are being used."""
    workers = _workers(setting)
    needed = (2 * workers + 2) * setting.batch_size * 3 * setting.crop**2 * 4
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        return f"its workers hand over batches in {folder}: {error.strerror}"
    free = facts.f_bavail * facts.f_frsize
    if free >= needed:
        return None
    return (
        f"the batches of its {workers} workers need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are "
        "free (in a container: docker run --shm-size)"
    )


ALONE = ("mixed",)
#: In the order in which they are opened and, in the first round, measured: what matters most comes first.
CONTESTANTS = {
    "cpu-crop-ready": Contestant(
        "genimage-stream, CPU + copy, crop-ready", ours("cpu", "crop-ready"), (), "crop-ready"
    ),
    "dali-crop-ready": Contestant(
        "genimage-stream, DALI, crop-ready", ours("dali", "crop-ready"), ("dali",), "crop-ready", searches=True
    ),
    "dali-own-sliced": Contestant(
        "DALI's own, crop while decoding", dali(slice_while_decoding=True), ("dali",), streams=ALONE
    ),
    "dali-own": Contestant("DALI's own, whole images", dali(slice_while_decoding=False), ("dali",), streams=ALONE),
    "cpu-plain": Contestant("genimage-stream, CPU + copy, plain", ours("cpu", "plain")),
    "dali-plain": Contestant("genimage-stream, DALI, plain", ours("dali", "plain"), ("dali",), searches=True),
    "webdataset": Contestant("webdataset + Pillow", webdataset, ("webdataset",), streams=ALONE, obstacle=shared_memory),
}
#: What ours is compared with: the faster of these.
BASELINES = ("dali-own", "dali-own-sliced")
#: What the goals are about; trained first. Then the others that feed a training step, if there is time.
BEST = ("cpu-crop-ready", "dali-crop-ready")
TRAINED_LAST = ("cpu-plain", "dali-plain", "dali-own-sliced", "dali-own")


def chosen(without: set[str], folders: dict[str, str]) -> list[str]:
    """Of CONTESTANTS, those that there are datasets and packages for."""
    return [name for name, one in CONTESTANTS.items() if one.folder in folders and not without.intersection(one.needs)]
