"""What the benchmarks read: stand-ins of GenImage's formats and sizes in its proportions, packed once under .bench/.

Reals are JPEGs of ImageNet's sizes and qualities, fakes are PNGs of 128 to 1024 pixels, as many of each generator; made
by `stand_ins`. A stream is the part of one format and size, packed by itself, its files repeated under other names
until an epoch is long enough to measure: whole batches, as many for each of two workers, because a loader that goes by
batches would otherwise be measured with an idle worker and part of a batch for nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environments import ROOM, ROOT

#: Reals, and fakes, of each of the eight generators: an epoch of 2,304 images.
COUNTS = {"train": 104, "val": 40}


class Stream(NamedTuple):
    """`images` of the files in `folder` (nature or ai) of the outer folders `outers`, each as often as need be."""

    folder: str
    outers: tuple[str, ...]
    images: int  # a multiple of 128


STREAMS = {
    "jpeg": Stream("nature", ("ADM", "glide", "Midjourney", "stable_diffusion_v_1_4", "VQDM", "wukong"), 1664),
    "png-128": Stream("ai", ("BigGAN",), 1152),
    "png-256": Stream("ai", ("ADM", "glide", "VQDM"), 768),
    "png-512": Stream("ai", ("stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "wukong"), 768),
    "png-1024": Stream("ai", ("Midjourney",), 384),
}


def tree() -> Path:
    """The tree of loose files, made on first use: the demo's without its faulty files, and larger."""
    from stand_ins.tree import FAULTS, SYSTEM_FILES, make_tree

    path = ROOM / "data" / f"GenImage-{sum(COUNTS.values())}"
    if not path.exists():
        unfinished = path.with_name(path.name + ".faulty")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        make_tree(unfinished, COUNTS)
        for name in (*FAULTS, *SYSTEM_FILES):
            (unfinished / name).unlink(missing_ok=True)
        unfinished.rename(path)
    return path


def stream_tree(name: str) -> Path:
    """A tree with the files of one stream only, hard links where the file system has them."""
    whole, stream = tree(), STREAMS[name]
    path = whole.with_name(f"{whole.name}-{name}-{stream.images}")
    if not path.exists():
        unfinished = path.with_name(path.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        files = sorted(whole.glob(f"*/*/*/{stream.folder}/*"))
        files = [file for file in files if file.relative_to(whole).parts[0] in stream.outers]
        for number in range(stream.images):
            copy, at = divmod(number, len(files))
            folder = unfinished / files[at].relative_to(whole).parent
            folder.mkdir(parents=True, exist_ok=True)
            link_or_copy(files[at], folder / renamed(files[at].name, copy))
        unfinished.rename(path)
    return path


def renamed(name: str, copy: int) -> str:
    """A file's name with another image number, the last number in it, of at most eight digits."""
    return re.sub(r"\d+(?=\.\w+$)", lambda found: f"{int(found[0]) + 10_000 * copy:0{len(found[0])}}", name)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def packed(stream: str = "", *, crop_ready: bool = False) -> Path:
    """The shards of the whole, or of one stream; `crop_ready` as by shard-tools pack --crop-ready."""
    source = stream_tree(stream) if stream else tree()
    path = source.with_name("-".join(filter(None, [source.name, "shards", "crop-ready" if crop_ready else ""])))
    stamp = path.with_name(path.name + ".stamp")
    if not stamp.exists() or stamp.read_text() != packer_digest():  # packed by other code: not what is to be measured
        shutil.rmtree(path, ignore_errors=True)
        stamp.write_text(packer_digest())
    command = [sys.executable, "-m", "shard_tools", "pack", str(source), str(path), "--shard-size", "16MB"]
    command += ["--crop-ready"] if crop_ready else []
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return path


def texts(width: int, text: bytes) -> Any:
    """A column of Arrow strings that are `width` bytes each, of those in `text` one after the other."""
    import numpy as np
    import pyarrow as pa

    rows = len(text) // width
    ends = pa.py_buffer(np.arange(0, width * rows + 1, width, dtype=np.int32))
    return pa.StringArray.from_buffers(rows, ends, pa.py_buffer(text))


@cache
def packer_digest() -> str:
    """Of all sources that decide what the shards hold."""
    digest = hashlib.sha256()
    for folder in ("shard_tools", "genimage_stream/decode", "cpp"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".cpp", ".hpp"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Make all of it: python -m benchmarks.data."""
    for stream in ("", *STREAMS):
        for crop_ready in (False, True):
            print(packed(stream, crop_ready=crop_ready).name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
