"""The pages that the tools write, as samples: of pictures that `genimage-stream demo` draws, made while the site is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from genimage_stream.demo.pictures import draw_tree

ROOT = Path(__file__).resolve().parents[1]
MODEL = '''\
"""A detector without training: how strongly pixels alternate with their neighbours."""


def load():
    return lambda images: 40 * (images - images.roll(1, 3)).abs().mean((1, 2, 3)) - 20
'''


def make(folder: Path, room: Path) -> None:
    """Write report.html, bench.html and evaluation.html into `folder`; `room` keeps the shards for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    room.mkdir(parents=True, exist_ok=True)
    tree = room / "GenImage"
    if not (room / "drawn").exists():
        list(draw_tree(tree))
        (room / "drawn").touch()
    (room / "my_detector.py").write_text(MODEL)
    _run(room, "shard_tools", "pack", "GenImage", "shards")
    _run(room, "shard_tools", "report", "shards", "--html", str(folder / "report.html"))
    _run(room, "genimage_stream", "bench", "shards", "--seconds", "0.5", "--html", str(folder / "bench.html"))
    evaluate = ("evaluate", "shards", "--model", "my_detector:load", "--degrade", "jpeg:95,jpeg:65,blur:1,blur:3")
    _run(room, "genimage_stream", *evaluate, "--device", "cpu", "--out", "evaluation")
    (folder / "evaluation.html").write_bytes((room / "evaluation/index.html").read_bytes())


def _run(room: Path, *command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{room}"}
    line = [sys.executable, "-m", *command]
    done = subprocess.run(line, cwd=room, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"docs: {' '.join(command)} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
