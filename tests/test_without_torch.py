"""What an installation without extras does: packs, verifies, opens, decodes, and names PyTorch where it is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.fixtures.genimage import make_tree

ROOT = Path(__file__).parents[1]
#: The dependencies of the package, and their own.
PACKAGES = ("click", "markdown_it", "mdurl", "numpy", "numpy.libs", "pyarrow", "pyarrow.libs", "pygments", "rich")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An interpreter that sees the dependencies and this checkout, nothing else."""
    site = tmp_path_factory.mktemp("site")
    places = [Path(place) for place in (sysconfig.get_paths()["purelib"], *sys.path) if place]
    for name in PACKAGES:
        for place in places:
            if (place / name).is_dir() and not (site / name).exists():
                (site / name).symlink_to(place / name)
    return ["env", f"PYTHONPATH={site}{os.pathsep}{ROOT}", sys.executable, "-S"]


@pytest.fixture(scope="module")
def shards(python: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_tree(folder / "tree", count=4)
    for command in (
        ["scan", "tree"],
        ["pack", "tree", "shards", "--crop-ready"],
        ["verify", "shards", "--decode"],
        ["info", "shards"],
        ["report", "shards", "--html", "page.html"],
    ):
        result = subprocess.run(
            [*python, "-m", "shard_tools", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, (command, result.stderr)
    return folder / "shards"


def said(python: list[str], code: str) -> str:
    result = subprocess.run([*python, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout


def test_the_doctor_names_what_is_missing(python: list[str]) -> None:
    result = subprocess.run([*python, "-m", "genimage_stream", "doctor"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^torch +missing", result.stdout, re.MULTILINE), result.stdout
    assert "'genimage-stream[torch]'" in result.stdout


def test_the_demo_runs_and_says_what_it_left_out(python: list[str], tmp_path: Path) -> None:
    demo = [*python, "-m", "genimage_stream", "demo", "--out", "demo"]
    result = subprocess.run(demo, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "images per second" in result.stdout
    assert "Left out: batches and training" in result.stdout
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"GenImage", "shards", "report.html"}


def test_a_dataset_is_opened_and_decoded(python: list[str], shards: Path) -> None:
    code = f"""
import genimage_stream as gs, sys
from genimage_stream import transforms as T
dataset = gs.open_dataset({str(shards)!r})
part = dataset.select(splits=["train"], labels=["fake"])
row = part.table(["shard", "offset", "size"]).slice(0, 1).to_pylist()[0]
with open(f"{{dataset.path}}/{{row['shard']}}", "rb") as file:
    file.seek(row["offset"])
    data = file.read(row["size"])
print(len(dataset) > len(part) > 0, gs.decode(data).ndim, "torch" in sys.modules)
print(T.apply(data, [T.RandomCrop(64, pad="tile"), T.GaussianBlur(sigma=1.0)]).shape)
"""
    assert said(python, code) == "True 3 False\n(64, 64, 3)\n"


@pytest.mark.parametrize(
    "code",
    [
        "gs.Loader",
        "gs.Batch",
        "gs.webdataset_handler(output='torch')",
        "T.apply(np.zeros((64, 64, 3), np.uint8), [T.GaussianBlur(1.0, kernel_size=5, like='torchvision')])",
    ],
)
def test_what_needs_torch_says_so(code: str, python: list[str]) -> None:
    line = said(
        python,
        f"""
import genimage_stream as gs, numpy as np
from genimage_stream import transforms as T
try:
    {code}
except ImportError as error:
    print(error)
""",
    )
    assert "needs PyTorch" in line
    assert "pip install 'genimage-stream[torch]'" in line
    assert len(line.splitlines()) == 1


def test_the_benchmark_needs_torch_and_says_so(python: list[str], shards: Path) -> None:
    command = [*python, "-m", "genimage_stream", "bench", str(shards)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert "pip install 'genimage-stream[torch]'" in result.stderr
