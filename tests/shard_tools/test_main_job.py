"""The main job on the standard layout: scan, pack, verify, info, and what others read from the shards."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from genimage_stream.schema import index_schema, quarantine_schema
from genimage_stream.vocabulary import PUBLISHED, synsets, val_classes
from tests.fixtures.genimage import Made, make_tree
from tests.shard_tools.conftest import shard_tools, shard_tools_here, tars, tree_bytes

Tree = tuple[Path, list[Made]]


def test_index_describes_every_file(standard_tree: Tree, packed: Path) -> None:
    table = pq.read_table(packed / "index.parquet")
    assert table.schema.equals(index_schema())
    rows = {row["source"]: row for row in table.to_pylist()}
    assert len(rows) == len(standard_tree[1]) == len(table)
    for made in standard_tree[1]:
        row = rows[made.path]
        assert (row["generator"], row["split"], row["label"]) == (made.generator, made.split, made.label)
        class_index = made.class_index
        if class_index is None:
            class_index = int(val_classes()[int(Path(made.path).stem.rsplit("_", 1)[1]) - 1])
        assert row["class_index"] == class_index
        assert row["synset"] == synsets()[class_index]
        assert row["key"] == f"{made.generator}_{made.split}_{made.label}_{Path(made.path).stem}"
        assert row["sha256"] == hashlib.sha256(made.data).hexdigest()
        assert row["size"] == len(made.data)
        image = Image.open(io.BytesIO(made.data))
        assert (row["format"].upper(), row["mode"]) == (image.format, image.mode)
        assert (row["width"], row["height"]) == image.size
        assert row["jpeg_quality"] == (96 if row["format"] == "jpeg" else None)
        assert row["progressive"] is False
        with open(packed / row["shard"], "rb") as shard:
            shard.seek(row["offset"])
            assert shard.read(row["size"]) == made.data
    assert pq.read_table(packed / "quarantine.parquet").schema.equals(quarantine_schema())
    assert pq.read_metadata(packed / "quarantine.parquet").num_rows == 0


def test_rows_are_in_shard_order(packed: Path) -> None:
    rows = pq.read_table(packed / "index.parquet").to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["shard"], row["offset"]))


def test_tar_layout(packed: Path) -> None:
    rows = iter(pq.read_table(packed / "index.parquet").to_pylist())
    for path in sorted(packed.rglob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            assert len(members) % 3 == 0
            for at in range(0, len(members), 3):
                row = next(rows)
                image, cls, facts = members[at : at + 3]
                suffix = {"jpeg": "jpg", "png": "png"}[row["format"]]
                assert [m.name for m in (image, cls, facts)] == [f"{row['key']}.{s}" for s in (suffix, "cls", "json")]
                assert image.offset_data == row["offset"]
                assert tar.extractfile(cls).read() == (b"1" if row["label"] == "fake" else b"0")  # type: ignore[union-attr]
                told = json.load(tar.extractfile(facts))  # type: ignore[arg-type]
                same = ("generator", "split", "label", "class_index", "synset", "format", "mode", "width", "height")
                for name in (*same, "jpeg_quality", "progressive", "size", "sha256"):
                    assert told[name] == row[name]
                assert "source" not in told
                for member in (image, cls, facts):
                    assert member.isreg()
                    owner = (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode)
                    assert owner == (0, 0, 0, "", "", 0o644)
            listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
            assert listed.stderr == ""
            assert listed.stdout.split() == [m.name for m in members]
    assert next(rows, None) is None


def test_reals_and_fakes_mix_in_every_shard(packed: Path) -> None:
    labels: dict[str, set[str]] = {}
    for row in pq.read_table(packed / "index.parquet").to_pylist():
        labels.setdefault(row["shard"], set()).add(row["label"])
    # Tiny shards of a few samples each: nearly all of them hold both labels.
    assert sum(len(found) == 2 for found in labels.values()) > 0.6 * len(labels)
    assert len(labels) > 16


def test_shards_do_not_exceed_their_limit(packed: Path) -> None:
    sizes = [path.stat().st_size for path in packed.rglob("*.tar")]
    assert max(sizes) <= 60_000
    assert min(sizes) > 10_000


def test_dataset_json(packed: Path, standard_tree: Tree) -> None:
    dataset = json.loads((packed / "dataset.json").read_text())
    assert dataset["format_version"] == 1
    assert dataset["seed"] == 0
    assert dataset["counts"]["samples"] == len(standard_tree[1])
    assert len(dataset["plan_digest"]) == 64
    assert sum(shard["samples"] for shard in dataset["shards"]) == len(standard_tree[1])
    assert set(tree_bytes(packed)) == {
        "dataset.json",
        "index.parquet",
        "quarantine.parquet",
        "README.md",
        "croissant.json",
        *(shard["path"] for shard in dataset["shards"]),
        *(shard["path"].replace(".tar", ".idx") for shard in dataset["shards"]),
    }


def test_webdataset_reads_the_shards(packed: Path, standard_tree: Tree) -> None:
    wds = pytest.importorskip("webdataset")
    urls = sorted(str(path) for path in packed.rglob("*.tar"))
    found = {}
    for sample in wds.WebDataset(urls, shardshuffle=False):
        data = sample.get("jpg") or sample["png"]
        found[hashlib.sha256(data).hexdigest()] = (sample["cls"], json.loads(sample["json"])["label"])
    assert len(found) == len(standard_tree[1])
    for made in standard_tree[1]:
        cls = {"real": b"0", "fake": b"1"}[made.label]
        assert found[hashlib.sha256(made.data).hexdigest()] == (cls, made.label)


def test_dali_reads_the_shards(packed: Path) -> None:
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def, types

    shards = sorted(packed.rglob("*.tar"))[:3]
    rows = [
        r for r in pq.read_table(packed / "index.parquet").to_pylist() if str(packed / r["shard"]) in map(str, shards)
    ]

    @pipeline_def(batch_size=len(rows), num_threads=1, device_id=None)
    def pipeline() -> Any:
        image, cls = fn.readers.webdataset(
            paths=[str(p) for p in shards],
            index_paths=[str(p.with_suffix(".idx")) for p in shards],
            ext=["jpg;png", "cls"],
            dtypes=[types.DALIDataType.UINT8, types.DALIDataType.UINT8],
            missing_component_behavior="error",
        )
        return image, cls

    reader = pipeline()
    reader.build()
    images, classes = reader.run()
    for at, row in enumerate(rows):
        assert hashlib.sha256(images.at(at).tobytes()).hexdigest() == row["sha256"]
        assert classes.at(at).tobytes() == (b"1" if row["label"] == "fake" else b"0")


def test_verify_and_info(packed: Path, standard_tree: Tree) -> None:
    done = shard_tools_here("verify", packed, "--decode", "--json")
    assert (done.code, done.json["intact"], done.json["problems"]) == (0, True, [])
    assert done.json["samples"] == len(standard_tree[1])
    facts = shard_tools_here("info", packed, "--json").json
    assert facts["samples"] == len(standard_tree[1])
    group = next(g for g in facts["groups"] if (g["generator"], g["split"], g["label"]) == ("adm", "train", "fake"))
    assert group["published"] == 162_000
    assert group["mode"] == {"RGBA": 6}
    assert "adm" in shard_tools_here("info", packed).out


def test_scan(standard_tree: Tree) -> None:
    before = tree_bytes(standard_tree[0])
    facts = shard_tools_here("scan", standard_tree[0], "--json").json
    assert facts["files"] == len(standard_tree[1])
    assert len(facts["groups"]) == 32
    for group in facts["groups"]:
        assert group["files"] == 6
        assert group["missing"] == group["published"] - 6
    assert facts["problems"] == []
    assert "missing" in shard_tools_here("scan", standard_tree[0]).out
    assert tree_bytes(standard_tree[0]) == before


def test_scan_counts_what_is_missing_of_the_published_numbers(tmp_path: Path) -> None:
    """The numbers of GenImage's datasheet, written out here once more; a subset of which one part is not there."""
    published = {
        ("adm", "train", "fake"): 162_000,
        ("adm", "train", "real"): 157_453,
        ("adm", "val", "fake"): 6_000,
        ("adm", "val", "real"): 6_000,
        ("sd15", "train", "fake"): 166_000,
        ("sd15", "train", "real"): 153_274,
        ("sd15", "val", "fake"): 8_000,
        ("sd15", "val", "real"): 8_000,
    }
    made = make_tree(tmp_path / "src", generators=("adm", "sd15"), count=6)
    lost = [m for m in made if (m.generator, m.split, m.label) == ("sd15", "val", "fake")]
    for one in lost:
        (tmp_path / "src" / one.path).unlink()
    facts = shard_tools_here("scan", tmp_path / "src", "--json").json
    found = {
        (g["generator"], g["split"], g["label"]): (g["files"], g["published"], g["missing"]) for g in facts["groups"]
    }
    there = {key: 0 if key == ("sd15", "val", "fake") else 6 for key in published}
    assert found == {key: (there[key], n, n - there[key]) for key, n in published.items()}
    assert facts["missing_generators"] == ["biggan", "glide", "midjourney", "sd14", "vqdm", "wukong"]
    assert sum(sum(counts) for counts in PUBLISHED.values()) == 2_681_167


def test_packing_again_does_nothing_and_other_workers_give_the_same_bytes(
    standard_tree: Tree, packed: Path, tmp_path: Path
) -> None:
    done = shard_tools("pack", standard_tree[0], tmp_path / "again", "--shard-size", "60kB", "--workers", 3)
    assert done.code == 0
    assert tree_bytes(tmp_path / "again") == tree_bytes(packed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "again").rglob("*")}
    done = shard_tools_here("pack", standard_tree[0], tmp_path / "again", "--shard-size", "60kB", "--json")
    assert (done.code, done.json["state"]) == (0, "finished")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "again").rglob("*")}
    assert "nothing to do" in shard_tools_here("pack", standard_tree[0], tmp_path / "again", "--shard-size", "60kB").out


def test_seed_changes_the_order_alone(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    done = shard_tools_here(
        "pack", standard_tree[0], tmp_path / "s", "--shard-size", "60kB", "--seed", 1, "--generators", "adm"
    )
    assert done.code == 0
    one, other = (pq.read_table(p / "index.parquet").to_pylist() for p in (packed, tmp_path / "s"))
    one = [row for row in one if row["generator"] == "adm"]
    assert {row["sha256"] for row in one} == {row["sha256"] for row in other}
    assert [row["sha256"] for row in one] != [row["sha256"] for row in other]


def test_selected_groups_get_the_same_tars(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    only = ("--generators", "SD14,adm", "--splits", "val")
    assert shard_tools_here("pack", standard_tree[0], tmp_path / "s", "--shard-size", "60kB", *only).code == 0
    expected = {k: v for k, v in tars(packed).items() if k.startswith(("sd14/val", "adm/val"))}
    assert tars(tmp_path / "s") == expected
