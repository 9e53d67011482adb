"""SPDL: images decoded by FFmpeg in threads, cut and mirrored by its filters, put together by a thread pool.

As its documentation recommends: demux, decode and convert as functions that release the interpreter's lock, one stage
of a Pipeline with as many threads as there are workers. FFmpeg goes from YCbCr to RGB by its own arithmetic, so the
pixels are not libjpeg's. Needs the FFmpeg libraries (Debian: ffmpeg). Samples come from memory-mapped tar files.
"""

from __future__ import annotations

import json
import mmap
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import Work

TITLE = "SPDL (FFmpeg)"
PACKAGES = ("spdl", "spdl-io", "torch")
REQUIREMENTS = ("spdl==0.8.0", "spdl-io==0.8.0")


def prepare(work: Work) -> None:
    """The offset and size of every image in its tar: SPDL has no reader for tar files."""
    from PIL import Image

    listing = Path(work.scratch) / "samples.json"
    if listing.exists():
        return
    rows = []
    for shard in work.shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                if member.name.endswith((".jpg", ".png")):
                    row = [shard, member.offset_data, member.size, *Image.open(stream).size]
                elif member.name.endswith(".cls"):
                    rows.append([*row, int(stream.read())])
    listing.write_text(json.dumps(rows))


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import numpy as np
    import spdl.io
    import torch
    from spdl.pipeline import PipelineBuilder

    from genimage_stream.bench.peers import pixels

    rows = json.loads((Path(work.scratch) / "samples.json").read_text())
    maps = {}
    for shard in work.shards:
        with Path(shard).open("rb") as file:
            maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    side = work.crop

    def decode(row: list[Any]) -> tuple[Any, int]:
        shard, offset, size, width, height, label = row
        whole = width < side or height < side
        filters = []
        if not whole:
            filters.append(f"crop={side}:{side}:{random.randint(0, width - side)}:{random.randint(0, height - side)}")
            filters += ["hflip"] if random.random() < 0.5 else []
        filters.append("format=pix_fmts=rgb24")
        packets = spdl.io.demux_image(maps[shard][offset : offset + size])
        frames = spdl.io.decode_packets(packets, filter_desc=",".join(filters))
        image = np.asarray(spdl.io.to_numpy(spdl.io.convert_frames(frames)))
        return pixels.planar(pixels.window(image, side) if whole else image), label

    def epoch() -> Iterator[tuple[Any, Any]]:
        random.shuffle(rows)
        pipeline = (
            PipelineBuilder()
            .add_source(rows)
            .pipe(decode, concurrency=work.workers)
            .aggregate(work.batch_size)
            .pipe(pixels.collate)
            .add_sink(3)
            .build(num_threads=work.workers)
        )
        with pipeline.auto_stop():
            yield from pipeline.get_iterator()

    torch.set_num_threads(1)
    return epoch
