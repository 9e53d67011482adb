"""What the benchmarks read: stand-ins of GenImage's formats and sizes in its proportions, packed once under .bench/.

Reals are JPEGs of ImageNet's sizes and qualities, fakes are PNGs of 128 to 1024 pixels, as many of each generator; made
from photographs by the demo's own code. A stream is the part of one format and size, packed by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import ROOM, ROOT

#: Folders of the tree, by outer folder, that make up each stream.
STREAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "jpeg": ("nature", ("ADM", "glide", "Midjourney", "stable_diffusion_v_1_4", "VQDM", "wukong")),
    "png-256": ("ai", ("ADM", "glide", "VQDM")),
    "png-512": ("ai", ("stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "wukong")),
    "png-1024": ("ai", ("Midjourney",)),
}


def tree() -> Path:
    """The tree of loose files, made on first use."""
    from demo.tree import make_tree

    path = ROOM / "data" / "GenImage"
    path.parent.mkdir(parents=True, exist_ok=True)
    make_tree(path)
    return path


def stream_tree(stream: str) -> Path:
    """A tree with the files of one stream only, hard links where the file system has them."""
    path = ROOM / "data" / f"GenImage-{stream}"
    if not path.exists():
        folder, outers = STREAMS[stream]
        unfinished = path.with_name(path.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        whole = tree()
        for source in sorted(whole.glob(f"*/*/*/{folder}/*")):
            if source.relative_to(whole).parts[0] in outers and source.stat().st_size:
                target = unfinished / source.relative_to(whole)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copy(source, target)
        unfinished.rename(path)
    return path


def packed(stream: str = "", *, crop_ready: bool = False) -> Path:
    """The shards of the whole, or of one stream; `crop_ready` as by shard-tools pack --crop-ready."""
    path = ROOM / "data" / "-".join(filter(None, ["shards", stream, "crop-ready" if crop_ready else ""]))
    source = stream_tree(stream) if stream else tree()
    command = [sys.executable, "-m", "shard_tools", "pack", str(source), str(path), "--shard-size", "16MB"]
    command += ["--crop-ready"] if crop_ready else []
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return path
