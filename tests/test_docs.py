"""The Python of the docs runs, page by page, on a tiny dataset; later examples of a page may use earlier ones."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.fixtures.genimage import make_tree

ROOT = Path(__file__).parents[1]

#: What a reader has at hand when a page begins.
GIVEN = {
    "loading": """
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

def train_step(images, labels):
    assert len(images) == len(labels)
""",
    "dali": """
import genimage_stream as gs

dataset = gs.open_dataset("shards")
train = dataset.select(splits=["train"])
""",
    "evaluation": """
import torch
import genimage_stream as gs

dataset = gs.open_dataset("shards")

def model(images):
    return images.mean((1, 2, 3)) / 4
""",
    "decode": """
import numpy as np
import torch
import genimage_stream as gs

dataset = gs.open_dataset("shards")
rows = np.arange(len(dataset)).repeat(64)[:64]
shard, names = dataset.access.shards()
paths = [f"shards/{name}" for name in names]
dataset.access.columns.load("offset", "size")
file_index = shard[rows]
offset, size = (column[rows] for column in dataset.access.columns.numbers("offset", "size"))
corners, flips = np.zeros((64, 2), np.int32), np.zeros(64, np.uint8)
""",
}
#: Where things are on the reader's machine, and here; the search of `tune` takes its time and has tests of its own.
ELSEWHERE = {'"/data/genimage-shards"': '"shards"', ", tune=True": ""}
WITHOUT_A_GPU = {'.to("cuda"': '.to("cpu"', 'device="cuda:0"': 'device="cpu"', ", pin_memory=True": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("docs")
    make_tree(here / "tree", count=4)
    command = [sys.executable, "-m", "shard_tools", "pack", str(here / "tree"), str(here / "shards")]
    subprocess.run(command, check=True, capture_output=True)
    return here


@pytest.mark.parametrize("page", GIVEN)
def test_python_of_the_docs_runs(page: str, folder: Path, warm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"loading": "torchdata", "dali": "nvidia"}.get(page)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: make test installs what the tests compare with")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    program = "\n".join([GIVEN[page], *blocks])
    for there, here in {**ELSEWHERE, **({} if torch.cuda.is_available() else WITHOUT_A_GPU)}.items():
        program = program.replace(there, here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = subprocess.run([warm, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
