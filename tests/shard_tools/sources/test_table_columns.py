"""Tables as the Hub has them: which column says what, and that nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shard_tools.errors import ToolError
from shard_tools.layout.columns import NO_COLUMNS, parse_columns
from shard_tools.layout.mapping import parse_mapping
from shard_tools.scan import Listing, scan
from tests.fixtures.genimage import fake_png
from tests.shard_tools.conftest import index_rows, pack_here, shard_tools_here

BYTES = [b"a", b"b", b"c", b"d"]


def structs(paths: list[str | None] | None = None) -> pa.Array:
    return pa.array([{"bytes": data, "path": (paths or [None] * 4)[n]} for n, data in enumerate(BYTES)])


def write(path: Path, features: dict[str, Any] | None = None, **columns: Any) -> Path:
    """A table at `path`, with Hugging Face's metadata where `features` are given; returns its folder."""
    rows = pa.table(columns)
    if features:
        rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(rows, path)
    else:
        with pa.ipc.new_stream(str(path), rows.schema) as writer:
            writer.write_table(rows)
    return path.parent


def listing(root: Path, columns: str | None = None, labels: str | None = None, *maps: str) -> Listing:
    return scan([str(root)], columns=parse_columns(columns, labels), mappings=[parse_mapping(m) for m in maps])


def told(root: Path, columns: str | None = None, labels: str | None = None, *maps: str) -> list[tuple[str, str, str]]:
    found = listing(root, columns, labels, *maps)
    assert not found.incomplete
    groups = [found.groups[number] for number in found.group]
    return sorted((g.generator, g.split, g.label) for g in groups)


def names(*words: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(words)}


REAL_AND_FAKE = [("flux", "train", "fake")] * 2 + [("flux", "train", "real")] * 2
LABELS: dict[str, tuple[dict[str, Any], Any, str | None]] = {
    "words": ({}, ["real", "Fake", "real", "AI-generated"], None),
    "ClassLabel": (names("real", "fake"), [0, 1, 0, 1], None),
    "ClassLabel the other way": (names("AI", "nature"), [1, 0, 1, 0], None),
    "numbers": ({}, [0, 1, 0, 1], "0=real,1=fake"),
    "numbers the other way": ({}, [1, 0, 1, 0], "1=real,0=fake"),
    "booleans": ({}, [False, True, False, True], "false=real,true=fake"),
    "words of one's own": ({}, ["camera", "full synth", "camera", "full synth"], "camera=real,full synth=fake"),
    "names of one's own": (names("x", "y"), [0, 1, 0, 1], "x=real,y=fake"),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_labels(kind: str, form: str, tmp_path: Path) -> None:
    feature, values, labels = LABELS[kind]
    path = tmp_path / "data" / f"train-00000-of-00002.{form}"
    write(path, {"label": feature} if feature else None, image=structs(), label=values, generator=["flux"] * 4)
    assert told(tmp_path, None, labels) == REAL_AND_FAKE
    if labels:  # without it, nothing is guessed
        with pytest.raises(ToolError, match=r"train-00000.* nothing says which of them are real: add --labels"):
            listing(tmp_path)


@pytest.mark.parametrize(("column", "fake"), [("is_fake", True), ("AI_generated", True), ("is_real", False)])
def test_booleans_by_the_name_of_the_column(column: str, fake: bool, tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", image=structs(), model=["flux"] * 4, **{column: [not fake, fake] * 2})
    assert told(tmp_path) == [("flux", "val", "fake")] * 2 + [("flux", "val", "real")] * 2


def test_numbers_with_nothing_to_go_by_end_with_the_line_to_paste(tmp_path: Path) -> None:
    write(tmp_path / "src" / "train.parquet", image=BYTES, label=[0, 1, 0, 1], generator=["flux"] * 4)
    done = shard_tools_here("scan", tmp_path / "src")
    assert done.code == 2
    assert "--labels 0=real,1=fake" in done.err
    done = shard_tools_here("scan", tmp_path / "src", "--labels", "0=real,1=fake", "--json")
    assert done.code == 0
    assert {(g["generator"], g["label"]): g["files"] for g in done.json["groups"]} == {
        ("flux", "fake"): 2,
        ("flux", "real"): 2,
    }


def test_numbers_below_a_folder_that_says_the_label(tmp_path: Path) -> None:
    write(tmp_path / "flux" / "train" / "ai" / "x.parquet", image=BYTES, label=[0, 1, 2, 3])
    assert told(tmp_path) == [("flux", "train", "fake")] * 4


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00003.parquet", "train"),
        ("data/validation-00000-of-00001.parquet", "val"),
        ("data/test-00000-of-00001-0123456789abcdef.parquet", "val"),
        ("core/test_core_1.parquet", "val"),
        ("train.parquet", "train"),
        ("default/train/0000.parquet", "train"),
        ("data/set-train-00000-of-00002.parquet", "train"),
        ("data/x.parquet", "val"),  # nothing says it; a note does
    ],
)
def test_the_split_is_in_the_name_of_the_file(path: str, split: str, tmp_path: Path) -> None:
    write(tmp_path / path, image=structs(), label=["fake"] * 4, generator=["u/a"] * 4)
    assert told(tmp_path) == [("u_a", split, "fake")] * 4
    assert ("taken as val" in "".join(listing(tmp_path).notes)) == path.endswith("x.parquet")


def test_a_column_of_splits_and_its_precedence(tmp_path: Path) -> None:
    splits = ["train", "validation", "PublicEval", "dev"]
    write(tmp_path / "train.parquet", image=BYTES, label=["fake"] * 4, model=["m"] * 4, split=splits)
    expected = [("m", "train", "fake"), *[("m", "val", "fake")] * 3]
    assert told(tmp_path) == expected
    assert told(tmp_path, None, None, ".=:train:") == expected  # a map gives way to it


@pytest.mark.parametrize("name", ["generator", "Generator", "model", "model_name", "source"])
@pytest.mark.parametrize("numbers", [False, True])
def test_the_column_of_the_generator(name: str, numbers: bool, tmp_path: Path) -> None:
    words = ["Real", "ADM", "stable_diffusion_v_1_4", "org/New model"]
    features = {name: names(*words)} if numbers else None
    write(tmp_path / "train.parquet", features, image=structs(), **{name: list(range(4)) if numbers else words})
    assert told(tmp_path) == [
        ("adm", "train", "fake"),
        ("org_new_model", "train", "fake"),
        ("real", "train", "real"),
        ("sd14", "train", "fake"),
    ]


def test_reals_keep_the_generator_whose_fakes_they_stand_beside(tmp_path: Path) -> None:
    generators = ["ADM", "ADM", "laion", None]
    write(tmp_path / "train.parquet", image=BYTES, label=["fake", "real", "real", "real"], generator=generators)
    own = [("adm", "train", "fake"), ("adm", "train", "real")]
    assert told(tmp_path) == [*own, *[("real", "train", "real")] * 2]


@pytest.mark.parametrize("name", ["image", "Image", "IMG", "image_data", "image_bytes", "jpg", "png", "picture"])
@pytest.mark.parametrize("struct", [False, True])
def test_the_column_of_images(name: str, struct: bool, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", **{name: structs() if struct else BYTES}, label=["fake"] * 4, model=["m"] * 4)
    assert told(tmp_path) == [("m", "train", "fake")] * 4


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    """Defactify's: Label_A is the label, Label_B the generator."""
    features = {"Label_B": names("none", "SD 2.1", "SDXL")}
    columns = {"Photo_x": structs(), "Label_A": [0, 1, 1, 0], "Label_B": [0, 1, 2, 0], "Caption": ["c"] * 4}
    write(tmp_path / "data" / "train-0.parquet", features, **columns)
    with pytest.raises(ToolError, match=r"no column of image bytes .*Photo_x, Label_A.* name it by --columns image="):
        listing(tmp_path)
    with pytest.raises(ToolError, match=r"no recognisable layout.*--columns label=NAME \(its columns: Photo_x"):
        listing(tmp_path, "image=photo_x")
    assert told(tmp_path, "image=photo_x,label=label_a,generator=Label_B", "0=real,1=fake") == [
        *[("real", "train", "real")] * 2,
        ("sd_2_1", "train", "fake"),
        ("sdxl", "train", "fake"),
    ]
    with pytest.raises(ToolError, match=r"--columns generator=nowhere: .* has no such column; it has Label_A"):
        listing(tmp_path, "image=Photo_x,generator=nowhere")


def test_an_image_that_the_metadata_declare(tmp_path: Path) -> None:
    columns = {"view": structs(), "label": ["fake"] * 4, "model": ["m"] * 4}
    write(tmp_path / "train.parquet", {"view": {"_type": "Image"}}, **columns)
    assert told(tmp_path) == [("m", "train", "fake")] * 4


def test_several_columns_of_images(tmp_path: Path) -> None:
    """Nothing says whether the edited or the original one is meant."""
    features = {name: {"_type": "Image"} for name in ("source_img", "mask_img", "target_img")}
    write(tmp_path / "a" / "train.parquet", features, **{name: structs() for name in features})
    with pytest.raises(
        ToolError, match=r"several columns of images \(source_img, mask_img, target_img\).*--columns image="
    ):
        listing(tmp_path / "a", None, None, ".=m::fake")
    assert told(tmp_path / "a", "image=target_img", None, ".=m::fake") == [("m", "train", "fake")] * 4
    write(tmp_path / "b" / "train.parquet", image=structs(), original=structs(), label=["fake"] * 4, model=["m"] * 4)
    assert any("not used: the images of the columns original;" in note for note in listing(tmp_path / "b").notes)


def test_useful_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    columns = {
        "label": ["fake"] * 4,
        "model": ["m"] * 4,
        "type": ["full"] * 4,
        "caption": ["c"] * 4,
        "source": ["s"] * 4,
    }
    write(tmp_path / "train-0.parquet", image=BYTES, **columns)
    write(tmp_path / "train-1.parquet", image=BYTES, **columns)
    (note,) = (note for note in listing(tmp_path).notes if "columns" in note)
    assert note.startswith("not used: the columns type, source; where one")


@pytest.mark.parametrize(
    "given", [("image", None), ("picture=x", None), ("image=", None), (None, "0"), (None, "0=maybe"), (None, "=real")]
)
def test_malformed_options(given: tuple[str | None, str | None]) -> None:
    with pytest.raises(ToolError, match=r"write (role|value)="):
        parse_columns(*given)
    assert parse_columns(None) == NO_COLUMNS


HUB = "hub/datasets--someone--fakes/snapshots/0123456789012345678901234567890123456789"


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    """Links into a folder of blobs; tables, and files in folders."""
    blobs = tmp_path / "hub" / "datasets--someone--fakes" / "blobs"
    write(blobs / "aa.parquet", image=structs(), label=["real", "fake"] * 2, generator=["flux"] * 4)
    (blobs / "aa.parquet").rename(blobs / "aa")
    (blobs / "bb").write_bytes(b"x")
    for link, blob in (("data/train-00000-of-00001.parquet", "aa"), ("test/1_fake/a.png", "bb")):
        path = tmp_path / HUB / link
        path.parent.mkdir(parents=True)
        path.symlink_to(blobs / blob)
    expected = sorted([("fakes", "val", "fake"), *[("flux", "train", "fake")] * 2, *[("flux", "train", "real")] * 2])
    assert told(tmp_path) == expected
    assert told(tmp_path / HUB) == expected


def test_the_cache_of_datasets_and_save_to_disk(tmp_path: Path) -> None:
    rows = {"image": structs(), "label": ["real", "fake"] * 2, "generator": ["flux"] * 4}
    cache = tmp_path / "cache" / "someone___fakes" / "default" / "0.0.0" / ("0" * 40)
    write(cache / "fakes-train-00000-of-00002.arrow", **rows)
    write(cache / "cache-0123456789abcdef.arrow", **rows)
    expected = [("flux", "train", label) for label in ("fake", "fake", "real", "real")]
    assert told(tmp_path / "cache") == expected
    assert any("copy of a computation" in line for line in listing(tmp_path / "cache").problems)
    saved = tmp_path / "saved"
    write(saved / "train" / "data-00000-of-00001.arrow", **rows)
    for name in ("train/state.json", "train/dataset_info.json", "dataset_dict.json"):
        (saved / name).write_text("{}")
    assert told(saved) == expected


def test_columns_of_tables_for_the_index(tmp_path: Path) -> None:
    columns = {"label": ["fake"] * 4, "model": ["m"] * 4, "Prompt": list("wxyz"), "seed": [1, 2, None, 4]}
    write(tmp_path / "train.parquet", image=BYTES, **columns)
    found = scan([str(tmp_path)], columns=parse_columns(None, None, "prompt,seed"))
    assert found.kept["prompt"].to_pylist() == list("wxyz")
    assert found.kept["seed"].type == pa.int64()
    assert found.kept["seed"].null_count == 1


def test_packed_by_columns(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    images = [fake_png(rng, 16) for _ in range(4)]
    columns = {
        "image_data": images,
        "label": [0, 1, 0, 1],
        "model_name": ["u/a", "u/b"] * 2,
        "split": ["train", "test"] * 2,
    }
    write(tmp_path / "src" / "data" / "a.parquet", **columns)
    pack_here(tmp_path / "src", tmp_path / "dst", columns=parse_columns(None, "0=real,1=fake"))
    rows = index_rows(tmp_path / "dst")
    assert sorted((r["generator"], r["split"], r["label"]) for r in rows) == [
        *[("real", "train", "real")] * 2,
        *[("u_b", "val", "fake")] * 2,
    ]


@pytest.mark.parametrize(
    ("values", "labels"),
    [(["fake", "real"] * 2, None), ([1.0, 0.0, 1.0, 0.0], "0=real,1=fake"), ([1, 0, 1, 0], "0=real,1=fake")],
)
def test_a_column_that_contradicts_the_paths(values: list[Any], labels: str | None, tmp_path: Path) -> None:
    paths: list[str | None] = ["real/0.png", "fake/1.png", "/mnt/ai/2.png", "3.png"]
    write(tmp_path / "sdxl" / "train.parquet", image=structs(paths), label=values)
    with pytest.raises(
        ToolError, match=r"for 2 images the column 'label' says another label than their paths, e\.g\. real/0"
    ):
        listing(tmp_path, None, labels)
    found = listing(tmp_path, "label=label", labels)
    groups = [found.groups[number] for number in found.group]
    by_name = dict(zip(found.name.to_pylist(), (g.label for g in groups), strict=True))
    assert by_name == {"0.png": "fake", "1.png": "real", "2.png": "fake", "3.png": "real"}
    assert any("for 2 images the column 'label' says another label" in note for note in found.notes)


def test_fakes_made_of_photographs_of_a_source(tmp_path: Path) -> None:
    paths: list[str | None] = [f"coco/{n}.png" for n in range(4)]
    write(tmp_path / "train.parquet", image=structs(paths), label=["real", "fake"] * 2, generator=["sdxl"] * 4)
    assert sorted(label for _, _, label in told(tmp_path)) == ["fake", "fake", "real", "real"]


def test_numbers_as_pandas_writes_them_beside_missing_ones(tmp_path: Path) -> None:
    values = [0.0, 1.0, None, 1.5]
    write(tmp_path / "sdxl" / "train.parquet", image=BYTES, label=values)
    with pytest.raises(
        ToolError, match=r"its column 'label' holds 0, 1, 1\.5, and nothing says .* --labels 0=real,1=fake"
    ):
        listing(tmp_path)
    found = listing(tmp_path, None, "0=real,1=fake,1.5=fake")
    assert (len(found), len(found.rejected)) == (3, 1)


@pytest.mark.parametrize("generator", [["sdxl"] * 4, None])
def test_names_of_classes_give_numbers_no_meaning(generator: list[str] | None, tmp_path: Path) -> None:
    """Reals and fakes of ImageNet's classes, all named by these."""
    paths: list[str | None] = [f"n01440764_{n}.JPEG" for n in range(4)]
    columns = {} if generator is None else {"generator": generator}
    write(tmp_path / "sdxl" / "train.parquet", image=structs(paths), label=[0, 1, 0, 1], **columns)
    with pytest.raises(ToolError, match=r"its column 'label' holds 0, 1, and nothing says which of them are real"):
        listing(tmp_path)
    assert told(tmp_path, None, "0=real,1=fake") == [
        ("sdxl", "train", label) for label in ("fake", "fake", "real", "real")
    ]
