"""Arrow and Parquet mirrors: the same tars as from folders, whatever a mirror's label numbers mean."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shard_tools.errors import ToolError
from shard_tools.sources.arrow import open_table
from shard_tools.terminal.progress import Silent
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


@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("data", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("name", ["x.arrow", "X.PARQUET"])
def test_columns_as_others_write_them(
    text: pa.DataType,
    data: pa.DataType,
    separator: str,
    name: str,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """polars and pandas write large strings, newer ones views; Windows its own separator."""
    made = make_files(**OPTIONS)
    paths = [m.path.replace("/", separator) for m in made]
    rows = pa.table({"image": pa.array([m.data for m in made], data), "image_path": pa.array(paths).cast(text)})
    (tmp_path / "src").mkdir()
    if name.endswith("arrow"):
        with pa.ipc.new_file(str(tmp_path / "src" / name), rows.schema) as writer:
            writer.write_table(rows, max_chunksize=3)
    else:
        pq.write_table(rows, tmp_path / "src" / name, row_group_size=3)
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == expected


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_duplicates_in_tables(form: str, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Rows that would get the same key are told apart by their bytes, before anything is unfolded."""
    write(tmp_path / "src" / "one", "paths", form)
    write(tmp_path / "src" / "two", "paths", form)
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == expected
    assert done.quarantined == done.samples
    assert all(row["reason"].startswith("duplicate:") for row in quarantine_rows(tmp_path / "dst").values())


def test_images_of_another_table_are_not_taken(tmp_path: Path) -> None:
    """Killed while unfolding, then started with a table of the same names and sizes: the plans are the same."""
    made = [m for m in make_files(**OPTIONS) if m.generator == "adm"]
    before = {}
    for name, change in (("one", 0), ("two", 1)):
        images = [m.data[:-1] + bytes([m.data[-1] ^ change]) for m in made]  # both pass a check of the header
        path = tmp_path / name / "adm.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table({"image": images, "image_path": [m.path for m in made]}), path)
        before[name] = {hashlib.sha256(data).hexdigest() for data in images}

    class StopError(Exception):
        pass

    class Stopping(Silent):
        def begin(self, what: str, files: int, size_bytes: int) -> None:
            raise StopError  # everything is unfolded, no shard is begun

    with pytest.raises(StopError):
        pack_here(tmp_path / "one", tmp_path / "dst", check="header", progress=Stopping())
    assert list((tmp_path / "dst" / ".pack" / "unfolded").iterdir())
    assert (tmp_path / "dst" / ".pack" / "plan.json").exists()
    pack_here(tmp_path / "two", tmp_path / "dst", check="header")
    assert {row["sha256"] for row in index_rows(tmp_path / "dst")} == before["two"]


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
    with pytest.raises(ToolError, match=r"no files in it but .*no column of image bytes"):
        pack_here(tmp_path / "src", tmp_path / "dst")
    pq.write_table(pa.table({"thumbnail": [b"a"]}), path)  # it may hold images, under a name of its own
    with pytest.raises(ToolError, match="no column of image bytes"):
        pack_here(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("content", [None, b"", b"PAR1 no"])
def test_table_beside_images(form: str, content: bytes | None, tmp_path: Path) -> None:
    """img2dataset writes one of URLs and captions beside each folder: said, and in nobody's way. Others are damaged."""
    made = make_tree(tmp_path / "src", generators=("adm",), count=1)
    path = (tmp_path / "src" / made[0].path).with_name(f"00000.{form}")
    rows = pa.table({"url": ["u"], "caption": ["c"]})
    if content is not None:
        path.write_bytes(content)
        with pytest.raises(ToolError, match="cannot be read"):
            pack_here(tmp_path / "src", tmp_path / "dst")
    elif form == "parquet":
        pq.write_table(rows, path)
    else:
        with pa.ipc.new_stream(str(path), rows.schema) as writer:
            writer.write_table(rows)
    done = pack_here(tmp_path / "src", tmp_path / "dst", allow_missing_volumes=content is not None)
    assert (done.samples, done.quarantined) == (len(made), 0)
    assert content is not None or any("is not read: it has no column of image bytes" in line for line in done.problems)


@pytest.mark.parametrize("form", ["parquet", "arrow-file", "arrow-stream"])
def test_memory_does_not_depend_on_row_groups(form: str, tmp_path: Path) -> None:
    """240 MB of images in one row group (of pages of one image each), or in compressed batches."""
    path = tmp_path / "src" / "train" / "adm" / f"x.{form.split('-', maxsplit=1)[0]}"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).bytes(1_200_000)
    rows = pa.table({"image": [noise] * 200, "image_path": [f"ai/{n}_adm_1.PNG" for n in range(200)]})
    if form == "parquet":
        pq.write_table(rows, path, use_dictionary=False, row_group_size=200, write_batch_size=1)
    else:
        maker = pa.ipc.new_file if form == "arrow-file" else pa.ipc.new_stream
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with maker(str(path), rows.schema, options=options) as writer:
            writer.write_table(rows, max_chunksize=20)
    code = f"""
import pyarrow as pa
from shard_tools.sources.arrow import open_table
table = open_table({str(path)!r}, "x")
assert sum(len(folder.names) for folder in table.contents().folders) == 200
assert len(list(table.sequential.digests({{0, 199}}))) == 2
table.sequential.unfold({str(tmp_path / "unfolded")!r})
print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 120_000_000


@pytest.mark.parametrize("label", [[1], {"a": 1}, 2**62, -5, "\x1b[2J", "", None, 0.5])
@pytest.mark.parametrize("names", [None, {"real": 0}, [None, {}], "real", 3])
def test_odd_labels_and_odd_names_of_labels(label: Any, names: Any, tmp_path: Path) -> None:
    meta = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
    rows = pa.table({"image": [b"x"] * 2, "label": [label] * 2}).replace_schema_metadata(meta)
    path = tmp_path / "train" / "adm" / "x.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(rows, path)
    found = open_table(str(path), "x.parquet")
    assert sum(len(folder.names) for folder in found.contents().folders) == 2
    assert not found.contents().incomplete


def test_doubled_columns_and_text_that_is_not_utf8(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([b"x"])] * 2, names=["image", "image"])
    odd = pa.table({"image": [b"x"], "image_path": pa.array([b"\xff\xfe"]).view(pa.string())})
    for number, rows in enumerate((twice, odd)):
        path = tmp_path / f"{number}.arrow"
        with pa.ipc.new_stream(str(path), rows.schema) as writer:
            writer.write_table(rows)
        assert "cannot be read" in open_table(str(path), "x").contents().incomplete[0]
