"""The demo, step by step; every command can be repeated by hand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from genimage_stream import command_line
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.opening import open_dataset
from genimage_stream.decode import decode_batch
from genimage_stream.demo.pictures import COUNTS, GENERATORS, draw_tree

ROUND, SIDE = 64, 128  # images decoded in one go; pixels of their crops


def run(folder: Path) -> None:
    """Everything, in `folder`, which is made; what an earlier demo left there is used again.

    Raises ValueError when a command fails, or `folder` holds anything else.
    """
    tree, shards, page = folder / "GenImage", folder / "shards", folder / "report.html"
    ours = {tree.name, _unfinished(tree).name, shards.name, page.name}
    if os.path.lexists(folder) and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: choose one with --out")
    there = list(folder.iterdir()) if folder.is_dir() else []
    if not {path.name for path in there} <= ours or any(path.is_symlink() for path in there):
        raise ValueError(f"{folder} holds other files, or links: choose a folder with --out")
    _heading("drawing pictures in the shape of GenImage: reals as JPEGs, fakes as PNGs with an artificial trace")
    _draw(tree)
    _heading("packing them into shards")
    _command("pack", str(tree), str(shards))
    _heading("verifying: every byte compared, every image decoded")
    _command("verify", str(shards), "--decode")
    _heading("a page about them")
    _command("report", str(shards), "--html", str(page))
    _heading("streaming")
    dataset = open_dataset(shards)
    note = _stream(dataset, shards)
    print(f"\n{dataset!r}\nThe page to open in a browser: {page.resolve()}")
    print(f"All of it is in {folder}: delete it when done. {note}")


def _draw(tree: Path) -> None:
    if tree.exists():
        print(f"{tree} is there already and is used again")
        return
    unfinished = _unfinished(tree)
    shutil.rmtree(unfinished, ignore_errors=True)
    total = 2 * len(GENERATORS) * sum(COUNTS.values())
    with command_line.progress("demo", total, done=True) as say:
        for path in draw_tree(unfinished):
            if sys.stderr.isatty():
                say(path.rpartition("/")[2])
    unfinished.rename(tree)
    print(f"{tree}: {total} images")


def _unfinished(tree: Path) -> Path:
    """What an interrupted demo leaves."""
    return tree.with_name(f"{tree.name}.unfinished")


def _command(*arguments: str) -> None:
    print("$ " + shlex.join(["shard-tools", *arguments]), flush=True)
    code = subprocess.run([sys.executable, "-m", "shard_tools", *arguments], check=False).returncode
    if code:
        raise ValueError(f"shard-tools {arguments[0]} ended with exit code {code}; see the lines above")


def _stream(dataset: Dataset, shards: Path) -> str:
    """Training, or decoding alone where PyTorch is not installed; returns what to know about it."""
    try:
        from genimage_stream.demo.detector import score, train
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        begun = time.perf_counter()
        _decode(dataset, shards)
        rate = len(dataset) / (time.perf_counter() - begun)
        print(f"{len(dataset)} crops of {SIDE} x {SIDE} decoded on all cores, {rate:,.0f} images per second")
        return "Left out: batches and training, which need PyTorch: pip install 'genimage-stream[torch]'"
    model, images, seconds = train(dataset.select(splits=["train"]))
    print(f"a small detector, trained on {images:,} crops in {seconds:.1f} s; on the val split:\n")
    print(score(model, dataset.select(splits=["val"])))
    return "The scores show that the stream trains a detector; they say nothing about any detector's merit."


def _decode(dataset: Dataset, shards: Path) -> None:
    out = np.empty((ROUND, 3, SIDE, SIDE), np.uint8)
    for first in range(0, len(dataset), ROUND):
        samples = [dataset[row].data for row in range(first, min(first + ROUND, len(dataset)))]
        if failed := decode_batch(samples, out[: len(samples)], crops=np.zeros((len(samples), 2), np.int32)):
            raise ValueError(f"{failed[0]}: `shard-tools verify {shards}` tells what is damaged")


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)
