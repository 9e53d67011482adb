"""Every block of Python and shell in the pages of docs/ and manual/ runs on a tiny dataset, or is listed here with the
reason why it does not; a page's later blocks may use earlier ones."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import torch

from manual.commands import COMMANDS
from tests.fixtures.genimage import make_tree
from tests.fixtures.pages import ROOT, Block, blocks, environment, make_commands, run

#: What a reader has at hand when a page begins.
GIVEN = {
    "index": "",
    "faq": "",
    "recipes": "",
    "transforms": "",
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

with open("my_detector.py", "w") as file:
    file.write("import torch\\nclass load(torch.nn.Linear):\\n    def __init__(self): super().__init__(1, 1)\\n")
    file.write("    def forward(self, images): return super().forward(images.mean((1, 2, 3))[:, None])\\n")
torch.save(torch.nn.Linear(1, 1).state_dict(), "weights.pt")
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
#: Pages that another test runs.
ELSEWHERE = {"tutorial": "test_tutorial.py", "coming-from": "test_coming_from.py", "how-do-i": "test_how_do_i.py"}
#: What is not run, by page and first line, and why. Blocks that only set a reader's machine up are in how-do-i.md too.
NOT_RUN = {
    ("index", "make setup                # installs missing system packages, makes .venv, builds the C++ extension"): (
        "it makes the environment that the tests run in"
    ),
    ("loading", 'rows = gs.ray_dataset(train, [T.RandomCrop(224, pad="tile")], seed=1, epoch=0)'): (
        "it starts a cluster: tests/genimage_stream/test_ray_data.py runs it"
    ),
    ("loading", "class Trainer(transformers.Trainer):"): (
        "its import takes seconds: tests/genimage_stream/loading/test_accelerators.py trains with such a class"
    ),
    ("loading", "# Spark"): "neither Spark nor Daft is installed, which the page says",
}
#: What the pages need besides.
NEEDED = {"loading": "torchdata", "dali": "nvidia"}
#: Where things are on the reader's machine, and here; the search of `tune` takes its time and has tests of its own.
ELSEWHERE_ON_DISK = {'"/data/genimage-shards"': '"shards"', ", tune=True": ""}
WITHOUT_A_GPU = {'.to("cuda"': '.to("cpu"', 'device="cuda:0"': 'device="cpu"', ", pin_memory=True": ""}
#: A shell's command in the midst of a page's Python.
SHELL = "import subprocess\nsubprocess.run(['bash', '-euo', 'pipefail', '-c', {text!r}], check=True)\n"

PAGES = {
    str(path.relative_to(ROOT).with_suffix("")).removeprefix("docs/"): path
    for folder in ("docs", "manual")
    for path in sorted((ROOT / folder).rglob("*.md"))
}


def to_run(page: str) -> list[Block]:
    """The blocks of a page but those that are listed as not to be run."""
    found = blocks(PAGES[page].read_text())
    return [block for block in found if (page, block.text.partition("\n")[0]) not in NOT_RUN]


@pytest.fixture(scope="module")
def folder(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("docs")
    make_tree(here / "GenImage", count=4)
    make_commands(here / "bin", warm)
    run(here, "shard-tools pack GenImage shards")
    return here


@pytest.mark.parametrize("page", GIVEN)
def test_blocks_of_the_docs_run(page: str, folder: Path, warm: str) -> None:
    needed = NEEDED.get(page)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: make test installs what the tests compare with")
    parts = [SHELL.format(text=block.text) if block.language == "sh" else block.text for block in to_run(page)]
    assert parts
    program = "\n".join([GIVEN[page], *parts])
    for there, here in {**ELSEWHERE_ON_DISK, **({} if torch.cuda.is_available() else WITHOUT_A_GPU)}.items():
        program = program.replace(there, here)
    (folder / f"{page}.py").write_text(f"if __name__ == '__main__':\n    exec({program!r}, globals())\n")
    command = [warm, f"{page}.py"]
    result = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_no_block_is_left_out() -> None:
    """Each block is on a page that a test runs, in a language that it runs, or is listed with a reason."""
    for page in PAGES:
        found = to_run(page)
        if page in GIVEN:
            assert {block.language for block in found} <= {"python", "sh"}, page
        elif page in ELSEWHERE:
            assert (ROOT / "tests" / ELSEWHERE[page]).exists()
        else:
            assert not found, f"{page}: no test runs the block of line {found[0].line if found else 0}"


def test_what_is_not_run_is_there() -> None:
    for page, line in NOT_RUN:
        assert line in [block.text.partition("\n")[0] for block in blocks(PAGES[page].read_text())], (page, line)


def options(group: click.Group, words: list[str]) -> set[str]:
    """The options of the command that a line begins with. Raises KeyError where there is no such command."""
    command: click.Command = group
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.commands[word]
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_outside_of_fences_are_accepted(page: str) -> None:
    """Synopses, indented or within a line, with SRC and DST in place of names: each command and option is there."""
    text = PAGES[page].read_text()
    lines = re.findall(r"^ {4}((?:shard-tools|genimage-stream) +[a-z].*)$", text, re.MULTILINE)
    lines += re.findall(r"`((?:shard-tools|genimage-stream) +[a-z][^`]*)`", text)
    for line in lines:
        program, *words = line.split()
        used = {word.partition("=")[0].strip("[](),.") for word in words if word.strip("[(").startswith("--")}
        assert used <= options(COMMANDS[program], words), f"{page}: {line}"
