"""Opening and selecting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from genimage_stream import schema
from tests.fixtures.shards import edit_index, make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset")))


def test_whole(dataset: gs.Dataset) -> None:
    assert len(dataset) == 144
    assert dataset.generators == ["adm", "biggan", "sd14"]
    assert dataset.access.rows.tolist() == list(range(144))
    assert dataset.counts() == {
        (g, s, k): 12 for g in dataset.generators for s in ("train", "val") for k in ("real", "fake")
    }
    assert "144 samples" in repr(dataset)


def test_opening_reads_no_shard(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    for shard in root.rglob("*.tar"):
        shard.unlink()
    assert len(gs.open_dataset(str(root)).select(splits=["train"])) == 72


@pytest.mark.parametrize(
    ("conditions", "keep"),
    [
        ({"generators": ["sd14"]}, pc.field("generator") == "sd14"),
        ({"splits": ["val"], "labels": ["fake"]}, (pc.field("split") == "val") & (pc.field("label") == "fake")),
        ({"classes": [1, 3]}, pc.field("class_index").isin([1, 3])),
        ({"classes": ["n00000002", 1]}, pc.field("class_index").isin([1, 2])),
        ({"formats": ["png"], "width": (60, 70)}, (pc.field("format") == "png") & (pc.field("width") == 64)),
        ({"height": (70, None)}, pc.field("height") >= 70),
        ({"width": (None, 24)}, pc.field("width") <= 24),
        ({"jpeg_quality": (90, 100)}, pc.field("format") == "jpeg"),
        ({"jpeg_quality": (None, None)}, pc.field("format") == "jpeg"),
        ({"where": pc.field("jpeg_quality") > 90}, pc.field("format") == "jpeg"),
        ({"where": pc.field("width") == pc.field("height")}, pc.field("width") == pc.field("height")),
        ({"generators": []}, pc.field("width") < 0),
    ],
)
def test_select_equals_the_arrow_expression(dataset: gs.Dataset, conditions: dict[str, object], keep: object) -> None:
    found = dataset.select(**conditions)  # type: ignore[arg-type]
    expected = dataset.table().filter(keep)
    assert found.table() == expected
    assert found.generators == dataset.generators


def test_selecting_from_a_selection(dataset: gs.Dataset) -> None:
    twice = dataset.select(splits=["val"]).select(where=pc.field("format") == "png").select(classes=[0])
    once = dataset.select(splits=["val"], formats=["png"], classes=[0])
    assert twice.access.rows.tolist() == once.access.rows.tolist()
    assert twice.access.digest() == once.access.digest() != dataset.access.digest()


def test_the_digest_of_everything_is_the_whole_one(dataset: gs.Dataset) -> None:
    assert dataset.select(splits=["train", "val"]).access.digest() == dataset.access.digest()


@pytest.mark.parametrize("name", ["SD14", "stable_diffusion_v_1_4", "sdv4"])
def test_generators_by_their_other_names(dataset: gs.Dataset, name: str) -> None:
    assert (
        dataset.select(generators=[name]).access.rows.tolist()
        == dataset.select(generators=["sd14"]).access.rows.tolist()
    )


def test_joining_selections(dataset: gs.Dataset) -> None:
    reals = dataset.select(labels=["real"], jpeg_quality=(90, 100))
    fakes = dataset.select(labels=["fake"])
    assert (reals | fakes).access.rows.tolist() == dataset.access.rows.tolist()
    assert len(reals & fakes) == 0
    assert (dataset - fakes).access.rows.tolist() == reals.access.rows.tolist()
    with pytest.raises(ValueError, match="open it once"):
        _ = reals | gs.open_dataset(dataset.path)


@pytest.mark.parametrize(
    ("conditions", "error", "message"),
    [
        ({"generators": ["sd2"]}, ValueError, r"no generator 'sd2'; it has adm, biggan, sd14"),
        ({"splits": ["tset"]}, ValueError, "no split 'tset'"),
        ({"labels": ["generator"]}, ValueError, "no label 'generator'"),
        ({"classes": ["n99999999"]}, ValueError, "no synset"),
        ({"classes": [1000]}, ValueError, "0 to 999"),
        ({"splits": "train"}, TypeError, r"\['train'\]"),
        ({"width": (9, 3)}, ValueError, "lowest"),
        ({"where": pc.field("nothing") > 1}, ValueError, "nothing.*its columns: key, "),
        ({"where": pc.field("width")}, ValueError, "where=width.*not a condition"),
        ({"where": pc.field("width") > "wide"}, ValueError, "where="),
        ({"where": "width > 64"}, TypeError, "where='width > 64'.*expression"),
        ({"width": 64}, ValueError, r"width=64: \(lowest, highest\)"),
        ({"width": (64,)}, ValueError, r"width=\(64,\): \(lowest, highest\)"),
        ({"height": ("1", None)}, ValueError, "height="),
        ({"labels": [0]}, ValueError, "label 0"),
        ({"generators": ["sd15", 3]}, ValueError, "generator 'sd15', 3"),
    ],
)
def test_selecting_what_is_not_there(
    dataset: gs.Dataset, conditions: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataset.select(**conditions)  # type: ignore[arg-type]


def test_a_label_that_no_sample_has_selects_nothing(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    edit_index(root, lambda table: table.filter(pc.field("label") == "fake"))
    assert len(gs.open_dataset(root).select(labels=["real"])) == 0


def test_rows_are_not_reordered_by_row_groups(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    root = make_dataset(tmp_path)
    before = gs.open_dataset(root)
    before.access.columns.load("generator", "split", "label", "shard", "format")
    path = root / schema.INDEX_FILE
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=7, compression="zstd")
    after = gs.open_dataset(root)
    for name in ("generator", "split", "label", "shard", "format"):
        codes, values = after.access.columns.words(name)
        assert values == sorted(set(table[name].to_pylist()))
        assert [values[code] for code in codes] == table[name].to_pylist()
        assert (codes == before.access.columns.words(name)[0]).all()
    assert after.access.columns.keys(np.array([100, 3])) == [table["key"][100].as_py(), table["key"][3].as_py()]
    quality = after.access.columns.numbers("jpeg_quality")[0]
    assert [None if q < 0 else q for q in quality.tolist()] == table["jpeg_quality"].to_pylist()


def test_no_dataset_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="shard-tools pack"):
            gs.open_dataset(path)


def test_an_unfinished_dataset(tmp_path: Path) -> None:
    (make_dataset(tmp_path) / schema.INDEX_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="not finished"):
        gs.open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x80"])
def test_dataset_file_that_is_no_object(tmp_path: Path, text: str) -> None:
    (make_dataset(tmp_path) / schema.DATASET_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=schema.DATASET_FILE):
        gs.open_dataset(tmp_path)


def test_a_newer_format(tmp_path: Path) -> None:
    path = make_dataset(tmp_path) / schema.DATASET_FILE
    path.write_text(json.dumps({"format_version": schema.FORMAT_VERSION + 1}))
    with pytest.raises(ValueError, match="newer"):
        gs.open_dataset(tmp_path)


def test_a_damaged_index(tmp_path: Path) -> None:
    path = make_dataset(tmp_path) / schema.INDEX_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"index\.parquet"):
        gs.open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["offset", "key", "sha256"])
def test_a_changed_bit_in_the_index_is_found_by_its_checksum(name: str, tmp_path: Path) -> None:
    """Otherwise a wrong offset or label would go unnoticed, or be found in the middle of a run."""
    path = make_dataset(tmp_path) / schema.INDEX_FILE
    pq.write_table(pq.read_table(path), path, write_page_checksum=True)
    column = pq.read_metadata(path).row_group(0).column(pq.read_schema(path).names.index(name))
    raw = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    raw[begin + column.total_compressed_size - 2] ^= 1
    path.write_bytes(raw)
    columns = gs.open_dataset(tmp_path).access.columns
    with pytest.raises(ValueError, match=r"index\.parquet cannot be read .*CRC.*pack` again"):
        columns.table([name])
    with pytest.raises(ValueError, match=r"index\.parquet cannot be read"):
        columns.part(name, np.arange(3))
    with pytest.raises(ValueError, match=r"index\.parquet cannot be read"):
        columns.matches(pc.field(name).is_valid())


def test_an_index_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    dataset = gs.open_dataset(root)
    pq.write_table(pq.read_table(root / schema.INDEX_FILE), root / schema.INDEX_FILE, row_group_size=7)
    with pytest.raises(ValueError, match="changed after it was opened: open the dataset again"):
        dataset.table()


def test_an_index_without_a_column(tmp_path: Path) -> None:
    edit_index(make_dataset(tmp_path), lambda table: table.drop_columns(["offset"]))
    with pytest.raises(ValueError, match="no column offset"):
        gs.open_dataset(tmp_path)


def test_an_index_with_another_label(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)

    def relabel(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("label")
        words = pa.array(["ai" if v == "fake" else v for v in table["label"].to_pylist()]).dictionary_encode()
        return table.set_column(place, "label", words)

    edit_index(root, relabel)
    with pytest.raises(ValueError, match="label 'ai'"):
        next(iter(gs.Loader(gs.open_dataset(root))))
