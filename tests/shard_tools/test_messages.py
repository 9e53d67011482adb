"""What people type on their first day that is not what they mean, and the sentence that they get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import genimage_stream as gs
from shard_tools.cli import app
from tests.fixtures.genimage import make_tree


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A GenImage tree and its shards."""
    folder = tmp_path_factory.mktemp("first_day")
    make_tree(folder / "GenImage", count=2)
    assert run("pack", folder / "GenImage", folder / "shards").exit_code == 0
    return folder / "GenImage", folder / "shards"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The one line that a command ends with, with exit code 2."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    return str(line).removeprefix("shard-tools: ")


def test_source_and_destination_swapped(packed: tuple[Path, Path], tmp_path: Path) -> None:
    tree, shards = packed
    line = refused("pack", shards, tree)
    assert line.startswith(f"{shards} is a packed dataset")
    assert "DST comes last" in line
    line = refused("pack", tmp_path / "shards", tree)
    assert line.startswith(f"{tmp_path / 'shards'} does not exist")
    assert "DST comes last" in line
    assert "pack reads images" in refused("pack", shards, tmp_path / "new")
    assert refused("scan", shards) == f"{shards} is a packed dataset: `shard-tools info {shards}` shows what is in it"


def test_a_shard_size_without_its_unit(packed: tuple[Path, Path], tmp_path: Path) -> None:
    line = refused("pack", packed[0], tmp_path / "shards", "--shard-size", "256")
    assert line == "--shard-size 256: that is 256 bytes; give the unit, e.g. 256MB"
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("command", ["verify", "info"])
def test_a_file_of_the_dataset_instead_of_its_folder(command: str, packed: tuple[Path, Path]) -> None:
    file = packed[1] / "dataset.json"
    assert refused(command, file) == f"{file} is a file: give the folder that `shard-tools pack` wrote"


@pytest.mark.parametrize("part", ["sd14", "sd14/train"])
def test_a_folder_of_the_dataset(part: str, packed: tuple[Path, Path]) -> None:
    line = refused("info", packed[1] / part)
    assert line == f"{packed[1] / part} is a part of the dataset {packed[1]}: give that folder, and select from it"


def test_tars_without_an_index(packed: tuple[Path, Path], tmp_path: Path) -> None:
    for tar in packed[1].glob("*/*/*.tar"):
        shutil.copy(tar, tmp_path)
    line = refused("info", tmp_path)
    assert line.startswith(f"{tmp_path} has tars but no index")
    assert f"`shard-tools pack {tmp_path} DST`" in line
    assert run("pack", tmp_path, tmp_path.parent / "dst").exit_code == 0  # their samples say what they are
    assert len(gs.open_dataset(tmp_path.parent / "dst")) == len(gs.open_dataset(packed[1]))


@pytest.mark.parametrize("splits", ["test", "TEST", "validation,val"])
def test_splits_have_the_same_names_everywhere(splits: str, packed: tuple[Path, Path], tmp_path: Path) -> None:
    assert run("pack", packed[0], tmp_path / "shards", "--splits", splits).exit_code == 0
    found = gs.open_dataset(tmp_path / "shards")
    assert {split for _, split, _ in found.counts()} == {"val"}
    dataset = gs.open_dataset(packed[1])
    assert len(dataset.select(splits=splits.split(","))) == len(found)


def test_labels_and_formats_have_the_names_that_folders_have(packed: tuple[Path, Path]) -> None:
    dataset = gs.open_dataset(packed[1])
    for given, canonical in (({"labels": ["ai"]}, {"labels": ["fake"]}), ({"formats": ["JPG"]}, {"formats": ["jpeg"]})):
        assert len(dataset.select(**given)) == len(dataset.select(**canonical)) > 0
    with pytest.raises(ValueError, match="has no split 'tset'"):
        dataset.select(splits=["tset"])


def test_a_split_that_is_no_whole(packed: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"e.g. split\(0.9, 0.1\)"):
        gs.open_dataset(packed[1]).split(0.9)


def test_scan_counts_empties_and_says_what_it_did_not_read(packed: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(packed[0], tmp_path / "GenImage")
    first = sorted((tmp_path / "GenImage").glob("*/*/train/ai/*"))[0]
    first.write_bytes(b"")
    done = run("scan", tmp_path / "GenImage")
    assert "Only names and sizes were read" in done.stdout
    assert "1 rejected by name or size" in done.stdout
    (total,) = [line.split() for line in done.stdout.splitlines() if line.startswith("total")]
    assert total[1] == "64"
    assert total[4] == "1"
    facts = json.loads(run("scan", tmp_path / "GenImage", "--json").stdout)
    assert facts["rejected"] == sum(group["rejected"] for group in facts["groups"]) == 1


def test_reasons_for_quarantine_are_counted(packed: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(packed[0], tmp_path / "GenImage")
    files = sorted((tmp_path / "GenImage").glob("*/*/train/ai/*"))
    for file in files[:3]:
        file.write_bytes(b"")
    files[3].write_bytes(b"<html>404</html>")
    done = run("pack", tmp_path / "GenImage", tmp_path / "shards")
    assert f"4 files in quarantine (`shard-tools info {tmp_path / 'shards'} --quarantine` lists them)" in done.stdout
    counts = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("   ")]
    assert [count for count, _ in counts] == ["3", "1"], done.stdout
    assert "empty" in counts[0][1]
    listed = run("info", tmp_path / "shards", "--quarantine").stdout
    assert all(file.name in listed for file in files[:4])
    assert "4 files in quarantine" in listed
    facts = json.loads(run("info", tmp_path / "shards", "--quarantine", "--json").stdout)
    assert facts["quarantined"] == len(facts["files"]) == 4
    assert {"source", "reason"} <= set(facts["files"][0])


def test_flat_folders_of_reals_and_fakes_share_a_split(packed: tuple[Path, Path], tmp_path: Path) -> None:
    """Names alone would put ImageNet's training images into train and all fakes into val."""
    for label, folder in (("ai", "fake"), ("nature", "real")):
        (tmp_path / "flat" / folder).mkdir(parents=True)
        for file in packed[0].glob(f"*/*/train/{label}/*"):
            shutil.copy(file, tmp_path / "flat" / folder)
    facts = json.loads(run("scan", tmp_path / "flat", "--json").stdout)
    found = {(group["split"], group["label"]) for group in facts["groups"] if group["files"]}
    assert found == {("val", "fake"), ("val", "real")}
    assert any("taken as val" in note for note in facts["notes"])


def test_splits_of_one_label_each_are_a_problem(packed: tuple[Path, Path], tmp_path: Path) -> None:
    for label, folder in (("ai", "val/fake"), ("nature", "train/real")):
        (tmp_path / "odd" / folder).mkdir(parents=True)
        for file in packed[0].glob(f"*/*/train/{label}/*"):
            shutil.copy(file, tmp_path / "odd" / folder)
    facts = json.loads(run("scan", tmp_path / "odd", "--json").stdout)
    assert any("train has only reals, val has only fakes" in problem for problem in facts["problems"])
