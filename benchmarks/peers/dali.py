"""NVIDIA DALI on the CPU, whole images decoded, then crop_mirror_normalize: its documented training pipeline.

Reads the shards with their .idx files; queues and the rest are its defaults, which its page on performance tuning calls
right for typical use. Its pipeline runs on past the end of an epoch, so an epoch is cut off after its images, and the
batches that were decoded ahead meanwhile are taken away before the next. DALI cannot tile: images smaller than the
window are padded with zeros, which is less work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import MEAN, STD, Endless, Work

TITLE = "DALI, CPU"
PACKAGES = ("nvidia-dali-cuda120", "torch")
REQUIREMENTS: tuple[str, ...] = ()
PREFETCH = 2  # batches, its default


def whole(encoded: Any, work: Work) -> tuple[Any, dict[str, Any]]:
    """The decoded image, and the arguments that tell crop_mirror_normalize where to crop."""
    from nvidia.dali import fn, types

    images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
    return images, {"crop_pos_x": fn.random.uniform(range=(0, 1)), "crop_pos_y": fn.random.uniform(range=(0, 1))}


def open_stream(
    work: Work, decode: Callable[[Any, Work], tuple[Any, dict[str, Any]]] = whole, *, conditionals: bool = False
) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """`conditionals`: `decode` has `if`s on DALI's values."""
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator

    @pipeline_def(  # type: ignore[untyped-decorator]
        batch_size=work.batch_size,
        num_threads=work.workers,
        device_id=None,
        seed=work.seed,
        prefetch_queue_depth=PREFETCH,
        enable_conditionals=conditionals,
    )
    def pipeline() -> tuple[Any, Any]:
        encoded, label = fn.readers.webdataset(
            paths=list(work.shards),
            index_paths=[str(Path(shard).with_suffix(".idx")) for shard in work.shards],
            ext=["jpg;png", "cls"],
            random_shuffle=True,
            initial_fill=500,
            name="reader",
        )
        decoded, where = decode(encoded, work)
        images = fn.crop_mirror_normalize(
            decoded,
            **where,
            crop=(work.crop, work.crop),
            mirror=fn.random.coin_flip(),
            mean=[255 * m for m in MEAN],
            std=[255 * s for s in STD],
            dtype=types.FLOAT,
            output_layout="CHW",
            out_of_bounds_policy="pad",
        )
        # The label is the text "0" or "1".
        return images, fn.cast(label, dtype=types.INT64) - 48

    iterator = DALIGenericIterator([pipeline()], ["images", "labels"], size=-1)  # without end
    batches = ((batch["images"], batch["labels"].squeeze(1)) for (batch,) in iterator)
    return Endless(batches, work.images, PREFETCH)
