"""docs/how-do-i.md and examples/: every block of the page runs, and what it says of figures and messages is true."""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import genimage_stream as gs
from tests.fixtures.genimage import make_tree
from tests.fixtures.pages import ROOT, blocks, environment, make_commands, run

PAGE = (ROOT / "docs/how-do-i.md").read_text()
#: Blocks that begin like this need a network, root or a cluster: only their syntax is checked.
NOT_HERE = ("apt-get", "conda", "sbatch")

# Appended to a section's last Python block: one image of the page's resize as Pillow makes it.
AS_PILLOW = """
import io
import numpy as np
from PIL import Image
images, _ = next(iter(loader))
row = val.table(["shard", "offset", "size"]).slice(0, 1).to_pylist()[0]
with open(f"{val.path}/{row['shard']}", "rb") as shard:
    shard.seek(row["offset"])
    image = Image.open(io.BytesIO(shard.read(row["size"]))).convert("RGB")
width, height = image.size
short = min(image.size)
image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BILINEAR)
x, y = (round((side - 224) / 2) for side in image.size)
pixels = np.asarray(image.crop((x, y, x + 224, y + 224))).transpose(2, 0, 1) / 255
mean, std = (np.array(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
assert np.array_equal(images[0], ((pixels - mean) / std).astype(np.float32))
"""


def sections() -> dict[str, list[tuple[str, str]]]:
    """Heading -> the (language, text) of its blocks, in order."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    found = {
        heading: [(block.language, block.text) for block in blocks(body)]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {heading: inside for heading, inside in found.items() if inside}


@pytest.fixture(scope="module")
def made(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small GenImage, its shards, the examples, and the commands in bin/."""
    here = tmp_path_factory.mktemp("how-do-i")
    tree = make_tree(here / "GenImage", count=6)
    for number, one in enumerate(file for file in tree if file.generator == "sd14"):
        name = f"{number}.{'png' if one.label == 'fake' else 'jpg'}"
        mine = {"real": "mine/photos", "fake": "mine/made-by-sdxl"}[one.label]
        for folder in (here / "flux" / one.split / one.label, here / mine):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(one.data)
    make_commands(here / "bin", warm)
    (here / "bin/scontrol").write_text('#!/bin/sh\necho "$@" >>scontrol.log\n')
    (here / "bin/scontrol").chmod(0o755)
    run(here, "bin/shard-tools pack GenImage shards")
    return here


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of it for each test."""
    shutil.copytree(made, tmp_path / "here")
    (tmp_path / "here/examples").symlink_to(ROOT / "examples")
    return tmp_path / "here"


def same_weights(here: Path) -> None:
    """A run that was stopped and went on ends as the one that was not."""
    whole, parts = (torch.load(here / name / "checkpoint.pt", weights_only=True) for name in ("run", "parts"))
    assert whole["loader"] == parts["loader"]
    assert whole["epoch"] == parts["epoch"] == 2
    for name, weight in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], weight)


def same_bytes(here: Path) -> None:
    """What was unpacked, converted and packed again are the original files."""
    before, after = (
        gs.open_dataset(here / name).select(splits=["train"], generators=[generator]).table(["label", "sha256"])
        for name, generator in (("shards", "sd14"), ("unpacked-shards", "flux"))
    )
    assert before.num_rows == 12
    assert sorted(map(str, before.to_pylist())) == sorted(map(str, after.to_pylist()))
    assert gs.open_dataset(here / "mine-shards").generators == ["real", "sdxl"]
    assert gs.open_dataset(here / "flux-shards").counts()["flux", "val", "fake"] == 6


def same_files(here: Path) -> None:
    selected = gs.open_dataset(here / "shards").select(generators=["biggan"], splits=["val"])
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (here / "files").rglob("*.*"))
    assert digests == sorted(selected.table(["sha256"])["sha256"].to_pylist())


AFTERWARDS: dict[str, Callable[[Path], None]] = {
    "Train with torchrun and checkpoints": same_weights,
    "Convert an ImageFolder, WebDataset or Parquet dataset": same_bytes,
    "Get the files back": same_files,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("heading", sections())
def test_blocks_run(heading: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for language, text in sections()[heading]:
        if language == "python":
            if "webdataset" in text:
                pytest.importorskip("webdataset")
            program = text + (AS_PILLOW if heading.startswith("Resize") else "")
            exec(compile(program, f"<{heading}>", "exec"), {"__name__": "__main__"})
        elif language == "sh" and text.startswith(NOT_HERE):
            subprocess.run(["bash", "-n", "-c", text], check=True)
        elif language == "sh":
            run(folder, text)
        else:
            assert language == "bibtex"
    if heading in AFTERWARDS:
        AFTERWARDS[heading](folder)


# -- the examples ------------------------------------------------------------------------------------------------------


def test_every_example_is_on_the_page() -> None:
    for path in (ROOT / "examples").iterdir():
        if path.is_file():
            assert f"examples/{path.name}" in PAGE


@pytest.mark.timeout(600)
def test_slurm_script_copies_trains_and_asks_for_more_time(folder: Path) -> None:
    subprocess.run(["bash", "-n", ROOT / "examples/slurm.sh"], check=True)
    places = {"DATA": "shards", "OUT": "run", "LOCAL": "scratch", "GPUS": "1", "SLURM_JOB_ID": "7"}
    options = ["--batch-size", "2", "--save-every", "1", "--crop", "32"]
    command = ["bash", "examples/slurm.sh", *options, "--epochs", "100000"]
    with open(folder / "log", "w") as log:
        job = subprocess.Popen(command, cwd=folder, env=environment(folder, **places), stdout=log, stderr=log)
        try:
            while not (folder / "run/checkpoint.pt").exists():
                assert job.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            job.send_signal(signal.SIGUSR1)  # what Slurm does when the time is nearly up
            assert job.wait(120) == 0, (folder / "log").read_text()
        finally:
            job.kill()
    assert (folder / "scontrol.log").read_text() == "requeue 7\n"
    assert sorted(os.listdir(folder / "scratch")) == ["dataset.json", "index.parquet", "sd14"]
    stopped = torch.load(folder / "run/checkpoint.pt", weights_only=True)
    last = stopped["epoch"] + 2
    run(folder, f"bash examples/slurm.sh {' '.join(options)} --epochs {last}", **places)
    assert torch.load(folder / "run/checkpoint.pt", weights_only=True)["epoch"] == last


def test_only_fakes_are_compressed_and_the_same_in_every_run(folder: Path) -> None:
    example = runpy.run_path(str(ROOT / "examples/jpeg_fakes.py"))
    train = gs.open_dataset(folder / "shards").select(generators=["midjourney"], splits=["train"])

    def epoch(qualities: list[int], label: int) -> torch.Tensor:
        loader = gs.Loader(train, batch_size=5, crop=40 + example["MARGIN"], seed=3)
        batches = list(example["without_format"](loader, qualities, window=40))
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert images.shape[1:] == (3, 40, 40)
        return images[labels == label]

    assert torch.equal(epoch([20, 60], 1), epoch([20, 60], 1))
    assert torch.equal(epoch([20], 0), epoch([95], 0))
    assert not torch.equal(epoch([20], 1), epoch([95], 1))


def test_unpacking_refuses_two_samples_of_one_key(folder: Path) -> None:
    tar = next((folder / "shards/sd14/train").glob("*.tar"))
    text = f"python examples/webdataset_to_folders.py out --generator a --split val {tar} {tar}"
    with pytest.raises(AssertionError, match="FileExistsError"):
        run(folder, text)


# -- what the page says ------------------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    def anchors(text: str) -> set[str]:
        heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        name, _, anchor = target.partition("#")
        file = ROOT / "docs" / name if name else ROOT / "docs/how-do-i.md"
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_hours_are_those_of_the_results() -> None:
    packing, recoding, loading = (
        json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
        for name in ("packing", "recoding", "end_to_end")
    )
    loaders = loading["comparisons"]["mix"]["loaders"]
    measured = {
        "`pack`, decoding": packing["Packing"]["shard-tools pack"],
        "`pack --crop-ready`": recoding["pack --crop-ready"],
        "`verify`": packing["Verifying"]["shard-tools verify"],
        "one epoch of 224 crops |": loaders["genimage-stream"],
        "one epoch of 224 crops, crop-ready": loaders["genimage-stream, crop-ready shards"],
    }
    assert {result["machine"]["processor"] for result in (packing, recoding, loading)} == {
        "Intel(R) Xeon(R) Processor (cpu family 6, model 207, stepping 2)"
    }
    for begin, result in measured.items():
        rate = result["units_per_second"]
        minutes = round(2_681_167 / rate / 60)
        length = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
        (row,) = re.findall(rf"^\| {re.escape(begin)}.*$", PAGE, re.MULTILINE)
        assert row.endswith(f"| {rate:,.0f} | {length} |"), row
    more, verified = packing["Packing more"], packing["Verifying"]
    assert f"{(verified['bytes'] - more['bytes']) / more['bytes']:.0%}" == "1%"
    everything = recoding["kinds"]["all"]
    assert f"{everything['stored_bytes'] / everything['bytes'] - 1:.1%}" == "0.6%"


def test_packages_are_those_that_the_build_needs() -> None:
    needed = re.findall(r"^build +\w+ +\S+ +(\S+)", (ROOT / "requirements/system.txt").read_text(), re.MULTILINE)
    (line,) = re.findall(r"^apt-get install (.*?) *#", PAGE, re.MULTILINE)
    assert {*needed, "python3-dev", "python3-venv"} == set(line.split())


def test_published_counts_are_right() -> None:
    from genimage_stream.vocabulary import PUBLISHED

    rows = re.findall(r"^\| (\w+) \| `\w+` \| \d+ \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in rows} == {
        name: sum(counts) for name, counts in PUBLISHED.items()
    }


def provoke(folder: Path) -> dict[str, Callable[[], object]]:
    """A fragment of a message, as the page quotes it -> what makes the software say it."""
    shards = folder / "shards"
    dataset = gs.open_dataset(shards)
    damaged, short, newer = (shutil.copytree(shards, folder / name) for name in ("damaged", "short", "newer"))
    (fake,) = dataset.select(generators=["sd14"], labels=["fake"]).first(1, per=["generator"]).table().to_pylist()
    with open(damaged / fake["shard"], "r+b") as file:
        file.seek(fake["offset"] + fake["size"] // 2)
        file.write(b"damage")
    os.truncate(short / fake["shard"], fake["offset"])
    facts = json.loads((newer / "dataset.json").read_text())
    (newer / "dataset.json").write_text(json.dumps({**facts, "format_version": 2}))
    (folder / "empty").mkdir()
    (folder / "empty/a.png").write_bytes(b"")

    def tool(text: str) -> Callable[[], object]:
        return lambda: run(folder, f"shard-tools {text}")

    def epoch(root: Path) -> Callable[[], object]:
        return lambda: list(gs.Loader(gs.open_dataset(root).select(generators=["sd14"])))

    return {
        "no recognisable layout": tool("scan empty"),
        "there is no such folder": tool("scan nowhere"),
        "lies within the source": tool("pack GenImage GenImage/out"),
        "holds a dataset begun with": tool("pack GenImage shards --seed 5"),
        "holds no dataset": lambda: gs.open_dataset(folder),
        "install a newer one": lambda: gs.open_dataset(newer),
        "has no generator 'sd2'": lambda: dataset.select(generators=["sd2"]),
        "is empty: nothing to load": lambda: gs.Loader(dataset.select(width=(9999, None))),
        "state belongs to another run": lambda: gs.Loader(dataset).load_state_dict(
            gs.Loader(dataset, seed=1).state_dict()
        ),
        "drop_last=True leaves nothing": lambda: gs.Loader(dataset, batch_size=1000, drop_last=True),
        "Input type (unsigned char)": lambda: torch.nn.Conv2d(3, 1, 1)(next(iter(gs.Loader(dataset))).images),
        "damaged PNG": epoch(damaged),
        "shorter than its index says": epoch(short),
    }


def test_quoted_messages_are_said(folder: Path) -> None:
    table = PAGE[PAGE.index("## Troubleshooting") :]
    quoted = {
        text for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for text in re.findall("`([^`]+)`", cell)
    }
    said = provoke(folder)
    needs_more = {
        "Python found the sources in",
        "cache_dir is for object stores",
        "torch sees no CUDA device",
        "torchrun",
        "DecodeError",
        "DataLoader",
        # Of servers, file systems and limits of memory: tests/genimage_stream/storage and loading provoke them.
        "429 Too Many Requests",
        "503 Service Unavailable",
        "could not give these bytes",
        "a part of the credentials is missing",
        "have expired; renew them",
        "more than the limit of ... for all threads",
        "no byte for 30 s",
        "no credentials found",
        "the file server gave the file up",
    }
    assert quoted == {*said, *needs_more}
    for text, action in said.items():
        with pytest.raises((ValueError, OSError, RuntimeError, AssertionError), match=re.escape(text)):
            action()
