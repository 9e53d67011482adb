"""Arrow and Parquet mirrors: the same tars as from folders, whatever a mirror's label numbers mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shard_tools.errors import ToolError
from tests.fixtures.genimage import Made, make_files, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here, tars, tree_bytes

OPTIONS: dict[str, Any] = {"generators": ("adm", "sd14"), "count": 4}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("tables")
    make_tree(root / "src", **OPTIONS)
    pack_here(root / "src", root / "dst")
    return tars(root / "dst")


def table(made: list[Made], style: str) -> pa.Table:
    """The rows as different mirrors have them."""
    names = [m.path.rsplit("/", 1)[1] for m in made]
    data = pa.array([m.data for m in made], pa.binary())
    if style == "paths":
        return pa.table({"image": data, "image_path": [m.path for m in made], "label": [0] * len(made)})
    if style == "struct":  # Hugging Face datasets: the label's words are in the metadata, and fake comes first
        image = pa.StructArray.from_arrays([data, pa.array(names)], ["bytes", "path"])
        features = {"label": {"names": ["ai", "nature"], "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        labels = [{"fake": 0, "real": 1}[m.label] for m in made]
        return pa.table({"image": image, "label": labels}).replace_schema_metadata(metadata)
    if style == "words":
        return pa.table({"image": data.cast(pa.large_binary()), "image_path": names, "label": [m.label for m in made]})
    assert style == "numbers"  # without words: what they mean follows from the names
    return pa.table({"image": data, "image_path": names, "label": [{"fake": 1, "real": 0}[m.label] for m in made]})


def write(root: Path, style: str, form: str) -> None:
    made = sorted(make_files(**OPTIONS), key=lambda m: m.label)
    for generator in OPTIONS["generators"]:
        for split in ("train", "val"):
            rows = table([m for m in made if (m.generator, m.split) == (generator, split)], style)
            path = root / "data" / split / generator / f"data-00000-of-00001.{form.removesuffix('-file')}"
            path.parent.mkdir(parents=True)
            if form == "parquet":
                pq.write_table(rows, path, row_group_size=3)
                continue
            maker = pa.ipc.new_file if form == "arrow-file" else pa.ipc.new_stream
            with maker(str(path), rows.schema) as writer:
                writer.write_table(rows, max_chunksize=3)


@pytest.mark.parametrize("form", ["arrow", "arrow-file", "parquet"])
@pytest.mark.parametrize("style", ["paths", "struct", "words", "numbers"])
def test_the_same_tars_as_from_folders(style: str, form: str, expected: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "src", style, form)
    before = tree_bytes(tmp_path / "src")
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == expected
    assert tree_bytes(tmp_path / "src") == before
    assert not (tmp_path / "dst" / ".pack").exists()
    assert all(".arrow:" in row["source"] or ".parquet:" in row["source"] for row in index_rows(tmp_path / "dst"))


def test_with_worker_processes(expected: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "src", "paths", "parquet")
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--shard-size", "60kB", "--workers", 2)
    assert done.code == 0, done.err
    assert tars(tmp_path / "dst") == expected


def test_unlisted_generator(tmp_path: Path) -> None:
    made = [m for m in make_files(**OPTIONS) if m.generator == "adm" and m.split == "train"]
    names = [f"picture{number}" for number in range(len(made))]
    rows = pa.table({"image": [m.data for m in made], "image_path": names, "label": [m.label for m in made]})
    path = tmp_path / "src" / "data" / "train" / "flux" / "data-00000-of-00002.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(rows, path)
    pack_here(tmp_path / "src", tmp_path / "dst")
    found = index_rows(tmp_path / "dst")
    assert {row["generator"] for row in found} == {"flux"}
    assert sum(row["label"] == "fake" for row in found) == len(made) // 2


def test_rows_without_an_image_and_without_a_label(tmp_path: Path) -> None:
    made = [m for m in make_files(**OPTIONS) if m.generator == "adm" and m.split == "train"][:3]
    rows = pa.table(
        {
            "image": pa.array([made[0].data, None, made[2].data], pa.binary()),
            "image_path": ["0_adm_1.PNG", "0_adm_2.PNG", "mystery.png"],
        }
    )
    path = tmp_path / "src" / "train" / "adm" / "x.arrow"
    path.parent.mkdir(parents=True)
    with pa.ipc.new_stream(str(path), rows.schema) as writer:
        writer.write_table(rows)
    pack_here(tmp_path / "src", tmp_path / "dst")
    bad = {
        name.rsplit(":", 1)[1].rsplit("/", 1)[-1]: row["reason"]
        for name, row in quarantine_rows(tmp_path / "dst").items()
    }
    assert set(bad) == {"0_adm_2.PNG", "mystery.png"}
    assert "no image bytes" in bad["0_adm_2.PNG"]
    assert "not recognised" in bad["mystery.png"]
    assert len(index_rows(tmp_path / "dst")) == 1


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 no", b"ARROW1 but no more"])
def test_damaged_tables(form: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "src" / "train" / "adm" / f"x.{form}"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ToolError, match=f"x.{form} cannot be read"):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_table_without_images(tmp_path: Path) -> None:
    path = tmp_path / "src" / "train" / "adm" / "x.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(ToolError, match="no column of image bytes"):
        pack_here(tmp_path / "src", tmp_path / "dst")
