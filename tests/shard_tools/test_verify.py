"""Damage of every part of a dataset is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shard_tools.terminal.progress import Silent
from shard_tools.verify import verify
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import index_rows, pack_here, shard_tools_here

SHARD = "adm/train/adm-train-00000.tar"


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


def row_of(root: Path, number: int = 1) -> int:
    rows = [row for row in index_rows(root) if row["shard"] == SHARD]
    return int(rows[number]["offset"])


def edit_index(root: Path) -> None:
    table = pq.read_table(root / "index.parquet")
    heights = table["height"].to_pylist()
    heights[0] += 1
    table = table.set_column(table.column_names.index("height"), "height", [heights])
    pq.write_table(table, root / "index.parquet")


def edit_dataset(root: Path) -> None:
    dataset = json.loads((root / "dataset.json").read_text())
    dataset["shards"][0]["samples"] -= 1
    dataset["counts"]["quarantined"] += 1
    (root / "dataset.json").write_text(json.dumps(dataset))


def edit_key(root: Path) -> None:
    table = pq.read_table(root / "index.parquet")
    keys = table["key"].to_pylist()
    keys[0] = "flux.1" + keys[0]
    pq.write_table(table.set_column(0, "key", [keys]), root / "index.parquet")


def folder_as_idx(root: Path) -> None:
    path = (root / SHARD).with_suffix(".idx")
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "image": (lambda root: flip(root / SHARD, row_of(root) + 30), "sha256 differs"),
    "name in a header": (lambda root: flip(root / SHARD, row_of(root) - 512 + 5), "tar header"),
    "class": (lambda root: flip(root / SHARD, row_of(root) - 1536 - 1024), ".cls or .json"),
    "end": (lambda root: flip(root / SHARD, (root / SHARD).stat().st_size - 1), "end of the archive"),
    "truncated": (lambda root: (root / SHARD).write_bytes((root / SHARD).read_bytes()[:-5000]), "ends within"),
    "longer": (lambda root: (root / SHARD).write_bytes((root / SHARD).read_bytes() + bytes(512)), "dataset.json says"),
    "no shard": (lambda root: (root / SHARD).unlink(), "cannot be read"),
    "no idx": (lambda root: (root / SHARD).with_suffix(".idx").unlink(), ".idx is missing"),
    "idx": (lambda root: flip((root / SHARD).with_suffix(".idx"), 20), "does not describe its shard"),
    "stray shard": (lambda root: (root / "adm" / "train" / "x.tar").write_text("x"), "not part of the dataset"),
    "index": (edit_index, ".cls or .json are not what the index says"),
    "no index": (lambda root: (root / "index.parquet").unlink(), "index.parquet is missing"),
    "torn index": (lambda root: (root / "index.parquet").write_bytes(b"PAR1"), "index.parquet cannot be read"),
    "key": (edit_key, "keys have characters"),
    "folder as idx": (folder_as_idx, ".idx cannot be read"),
    "no quarantine": (lambda root: (root / "quarantine.parquet").unlink(), "quarantine.parquet cannot be read"),
    "counts": (edit_dataset, "differ about the number of samples"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(kind: str, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    damage, message = DAMAGE[kind]
    damage(tmp_path / "dst")
    found = verify(str(tmp_path / "dst"), Silent())
    assert not found.intact
    assert any(message in problem for problem in found.problems), found.problems
    assert len(found.problems) <= 4


def test_files_of_others_are_a_note(packed: Path, tmp_path: Path) -> None:
    """What systems, viewers and people leave beside a sound dataset does not break it."""
    shutil.copytree(packed, tmp_path / "dst")
    names = [
        ".DS_Store",
        "README.md",
        "adm/notes.txt",
        "adm/.x.tar.h-1.part",
        ".cache/huggingface/x",
        ".nv-meta/split.yaml",
        f"{SHARD}.idx",
    ]
    for name in names:
        (tmp_path / "dst" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dst" / name).write_text("x")
    done = shard_tools_here("verify", tmp_path / "dst", "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert len(done.json["notes"]) == len(names)
    assert all(any(name in note for note in done.json["notes"]) for name in names)
    assert "note: " in shard_tools_here("verify", tmp_path / "dst").out


def test_exit_codes(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    assert shard_tools_here("verify", tmp_path / "dst").code == 0
    flip(tmp_path / "dst" / SHARD, row_of(tmp_path / "dst") + 30)
    done = shard_tools_here("verify", tmp_path / "dst", "--json")
    assert (done.code, done.json["intact"]) == (1, False)
    assert SHARD in done.json["problems"][0]
    assert "NOT intact" in shard_tools_here("verify", tmp_path / "dst").out
    (tmp_path / "dst" / "dataset.json").unlink()
    assert shard_tools_here("verify", tmp_path / "dst").code == 2
    done = shard_tools_here("info", tmp_path / "nowhere", "--json")
    assert done.code == 2
    assert "no such folder" in done.json["error"]


DATASET_DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "empty": lambda dataset: dataset.clear(),
    "no counts": lambda dataset: dataset.pop("counts"),
    "no groups": lambda dataset: dataset["counts"].pop("groups"),
    "group without a label": lambda dataset: dataset["counts"]["groups"][0].pop("label"),
    "shards of another kind": lambda dataset: dataset.update(shards={"a": 1}),
    "shard without a size": lambda dataset: dataset["shards"][-1].pop("size"),
    "seed in words": lambda dataset: dataset.update(seed="one"),
    "options of another kind": lambda dataset: dataset.update(options=[]),
    "a number as a truth": lambda dataset: dataset["counts"].update(samples=True),
}


@pytest.mark.parametrize("kind", DATASET_DAMAGE)
def test_damaged_dataset_json(kind: str, packed: Path, standard_tree: tuple[Path, list[Any]], tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    path = tmp_path / "dst" / "dataset.json"
    dataset = json.loads(path.read_text())
    DATASET_DAMAGE[kind](dataset)
    path.write_text(json.dumps(dataset))
    commands = [["verify"], ["info"], ["report", "--html", tmp_path / "x.html"], ["pack", standard_tree[0]]]
    for command in commands:
        done = shard_tools_here(*command, tmp_path / "dst")
        assert done.code == 2
        assert f"{path} is not one that this program writes" in done.err


@pytest.mark.parametrize(("name", "word"), [("index.parquet", b"0_adm_"), ("quarantine.parquet", b"file is empty")])
def test_pages_are_compared_with_their_checksums(name: str, word: bytes, tmp_path: Path) -> None:
    """A changed bit in a word that nothing else is compared with, as it would be in a page that still decompresses."""
    made = make_tree(tmp_path / "src", generators=("adm",), count=4)
    (tmp_path / "src" / made[0].path).write_bytes(b"")
    pack_here(tmp_path / "src", tmp_path / "dst")
    path = tmp_path / "dst" / name
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    assert verify(str(tmp_path / "dst"), Silent()).intact
    facts = pq.read_metadata(path).row_group(0)
    column = facts.column(facts.num_columns - 1)  # source, reason
    end = column.data_page_offset + column.total_compressed_size
    flip(path, path.read_bytes().rindex(word, column.data_page_offset, end) + 2)  # the last: not in the page's header
    found = verify(str(tmp_path / "dst"), Silent())
    assert any(f"{name} cannot be read" in problem for problem in found.problems)


def test_the_packer_writes_checksums(packed: Path) -> None:
    raw = bytearray((packed / "index.parquet").read_bytes())
    column = pq.read_metadata(packed / "index.parquet").row_group(0).column(0)
    raw[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(pa.BufferReader(bytes(raw)), page_checksum_verification=True)


def test_columns_of_keep_are_no_damage(tmp_path: Path) -> None:
    for label, name in (("ai", "0"), ("nature", "n01440764_0")):
        place = tmp_path / "source" / "sd14" / "train" / label / f"{name}.png"
        place.parent.mkdir(parents=True)
        Image.new("RGB", (20, 20), len(name)).save(place)
        place.with_suffix(".txt").write_text("a prompt")
    assert shard_tools_here("pack", tmp_path / "source", tmp_path / "dst", "--keep", "txt").code == 0
    done = shard_tools_here("verify", tmp_path / "dst")
    assert (done.code, "is intact; 2 samples" in done.out) == (0, True)
