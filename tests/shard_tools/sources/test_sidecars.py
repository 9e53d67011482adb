"""What lies beside plain images: tables of them, and files of their stems."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

import genimage_stream as gs
from shard_tools.errors import ToolError
from shard_tools.layout.columns import parse_columns
from shard_tools.scan import Listing, scan
from tests.fixtures.genimage import fake_png
from tests.shard_tools.conftest import pack_here

RNG = np.random.default_rng(0)


def put(root: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def listing(root: Path, *columns: str | None) -> Listing:
    return scan([str(root)], columns=parse_columns(*columns))


def told(found: Listing) -> list[tuple[str, str, str, str]]:
    groups = [found.groups[number] for number in found.group]
    names = [name.rpartition("/")[2] for name in found.name.to_pylist()]
    return sorted((n, g.generator, g.split, g.label) for n, g in zip(names, groups, strict=True))


@pytest.mark.parametrize("where", ["", "deep/"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_a_table_of_the_images(form: str, where: str, tmp_path: Path) -> None:
    rows = [
        {"file_name": f"./{where}a.jpg", "model": "flux", "target": "0", "split": "train"},
        {"file_name": f"{where}b.jpg", "model": "flux", "target": "7", "split": "test"},
    ]
    separator = {"csv": ",", "tsv": "\t"}.get(form)
    lines = [json.dumps(row) for row in rows]
    if separator:
        lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
    put(tmp_path, **{f"{where}a.jpg": b"x", f"{where}b.jpg": b"x", f"metadata.{form}": "\n".join(lines)})
    found = listing(tmp_path, "label=target", "0=real,*=fake")
    assert told(found) == [("a.jpg", "flux", "train", "real"), ("b.jpg", "flux", "val", "fake")]
    with pytest.raises(ToolError, match=r"its column 'target' holds 0, 7, and nothing says .*--labels 0=real,7=fake"):
        listing(tmp_path, "label=target")
    with pytest.raises(ToolError, match="no recognisable layout"):
        listing(tmp_path)


def test_a_table_that_contradicts_the_folders(tmp_path: Path) -> None:
    put(tmp_path, **{"flux/fake/a.png": b"x", "flux/fake/b.png": b"x"})
    put(tmp_path / "flux/fake", **{"metadata.csv": "file_name,label,model\na.png,real,flux\nb.png,fake,flux\n"})
    with pytest.raises(
        ToolError, match=r"for 1 images the column 'label' says another label .*flux/fake/a.png is real"
    ):
        listing(tmp_path, "generator=model")
    found = listing(tmp_path, "generator=model,label=label")
    assert told(found) == [("a.png", "flux", "val", "real"), ("b.png", "flux", "val", "fake")]
    assert any("the column is taken" in note for note in found.notes)


def test_paths_count_from_the_table_first(tmp_path: Path) -> None:
    put(tmp_path, **{"a.png": b"x", "deep/b.png": b"x", "deep/a.png": b"x"})
    put(tmp_path, **{"deep/metadata.csv": "file_name,label,model\na.png,real,m\ndeep/b.png,fake,m\n"})
    found = listing(tmp_path, "label=label")
    assert [one.source for one in found.rejected] == ["a.png"]  # of which nothing is said
    assert {(g.path, g.label) for g in found.groups} == {("deep", "real"), ("deep", "fake")}


def test_rows_that_contradict_each_other(tmp_path: Path) -> None:
    rows = "file_name,label,model,note\na.png,real,m,1\na.png,{},m,2\n"
    put(tmp_path, **{"a.png": b"x", "metadata.csv": rows.format("real")})
    assert told(listing(tmp_path, "label=label")) == [("a.png", "real", "val", "real")]
    put(tmp_path, **{"metadata.csv": rows.format("fake")})
    with pytest.raises(ToolError, match=r"a.png: .* several rows of it, with other values in the column 'label'"):
        listing(tmp_path, "label=label")


def test_lines_end_where_json_ends_them(tmp_path: Path) -> None:
    lines = [json.dumps({"file_name": "a.png", "label": "fake", "prompt": "x\u2028y"}, ensure_ascii=False), ""]
    put(tmp_path, **{"flux/a.png": b"x", "flux/metadata.jsonl": "\r\n".join(lines)})
    assert told(listing(tmp_path, "label=label")) == [("a.png", "flux", "val", "fake")]


def test_keep_alone_changes_no_generator(tmp_path: Path) -> None:
    put(tmp_path, **{"flux/fake/a.png": b"x", "flux/fake/a.json": '{"source": "x", "label": "real", "seed": 1}'})
    found = listing(tmp_path, None, None, "seed")
    assert told(found) == [("a.png", "flux", "val", "fake")]
    assert found.kept["seed"].to_pylist() == [1]
    assert any("not used: the columns source, label" in note for note in found.notes)


def test_a_column_that_is_nowhere(tmp_path: Path) -> None:
    put(tmp_path, **{"a.jpg": b"x", "a.json": '{"label": "fake"}'})
    with pytest.raises(ToolError, match=r"--columns label=target: .* has no such column; it has label"):
        listing(tmp_path, "label=target")


def test_prompts_beside_images_are_kept(tmp_path: Path) -> None:
    images = {f"flux/train/ai/{n}.png": fake_png(RNG, 16) for n in range(4)}
    put(tmp_path / "src", **images)
    put(
        tmp_path / "src" / "flux/train/ai",
        **{"0.txt": "a dog", "1.json": '{"txt": "a cat", "seed": 3}', "2.json": "no"},
    )
    done = pack_here(tmp_path / "src", tmp_path / "dst", columns=parse_columns(None, None, "txt,seed"))
    assert (done.samples, done.quarantined) == (4, 0)
    dataset = gs.open_dataset(tmp_path / "dst")
    assert len(dataset.select(where=pc.field("x_txt") == "a dog")) == 1
    assert len(dataset.select(where=(pc.field("x_seed") == 3) & (pc.field("x_txt") == "a cat"))) == 1
    assert len(dataset.select(where=pc.field("x_txt").is_null())) == 2
    assert [row["x_seed"] for row in dataset.to_pandas().to_dict("records")].count(3) == 1
    assert {name: count for name, count in listing(tmp_path / "src").others.items() if count} == {".txt": 1, ".json": 2}


def test_masks_are_no_images(tmp_path: Path) -> None:
    put(tmp_path, **{"flux/fake/a.png": b"x", "flux/fake/masks/a.png": b"x", "flux/p2p_masks/fake/a.png": b"x"})
    found = listing(tmp_path)
    assert len(found) == 1
    assert sum("folder of masks" in note for note in found.notes) == 2


def test_cells_without_a_column_belong_to_none(tmp_path: Path) -> None:
    put(tmp_path, **{"a.jpg": b"x", "metadata.csv": "file_name,split,label\na.jpg,train,fake,more,and more\n"})
    assert told(listing(tmp_path, "label=label"))[0][2:] == ("train", "fake")


def test_a_cell_that_never_ends(tmp_path: Path) -> None:
    put(tmp_path, **{"a.jpg": b"x", "metadata.csv": 'file_name,split\na.jpg,"' + "x" * 200_000})
    with pytest.raises(ToolError, match=r"metadata\.csv is no table .*quotation mark"):
        listing(tmp_path, "label=label")
