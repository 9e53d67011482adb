"""What opening says of a dataset that is not there, not finished, or damaged; dataset.json with all its fields."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from genimage_stream import schema
from genimage_stream.dataset.info import parse_info
from genimage_stream.dataset.opening import read_info
from genimage_stream.storage.store_at import open_store
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.storage.test_remote import QUICK, web_server

COMPLETE: dict[str, Any] = {
    "format_version": 1,
    "seed": 0,
    "options": {"crop_ready": True},
    "plan_digest": "0",
    "counts": {"samples": 1, "quarantined": 0, "shards": 1, "size": 1, "groups": []},
    "shards": [{"path": "adm/train/adm-train-00000.tar", "samples": 1, "size": 1}],
}


def test_a_dataset_that_is_begun(tmp_path: Path) -> None:
    (tmp_path / schema.PLAN_FILE).parent.mkdir()
    (tmp_path / schema.PLAN_FILE).write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is not finished: run the same `shard-tools pack` again"):
        gs.open_dataset(tmp_path)
    with (
        web_server(tmp_path) as (address, _),
        pytest.raises(FileNotFoundError, match=f"{address} is not finished: run the same"),
    ):
        gs.open_dataset(address, storage_options=QUICK)


def test_a_folder_that_holds_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no dataset \(dataset.json is not there\)"):
        gs.open_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        gs.open_dataset(tmp_path / "nowhere")


def test_the_fields_of_dataset_json() -> None:
    info = parse_info(json.dumps(COMPLETE).encode(), "x/dataset.json").check_complete()
    assert info.crop_ready
    assert info.plan_digest == "0"
    assert not parse_info(b"{}", "x/dataset.json").crop_ready


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": "0"}, "seed is missing or damaged"),
        ({"seed": True}, "seed is missing or damaged"),
        ({"options": None}, "options is not an object"),
        ({"counts": {**COMPLETE["counts"], "groups": [{}]}}, r"counts.groups\[0\].generator is missing or damaged"),
        ({"shards": {}}, "shards is not a list"),
        ({"shards": [{"path": "../x.tar", "samples": 1, "size": 1}]}, "names the shard '../x.tar'"),
    ],
)
def test_a_field_that_is_missing_or_damaged(change: dict[str, Any], says: str) -> None:
    info = parse_info(json.dumps(COMPLETE | change).encode(), "x/dataset.json")
    with pytest.raises(ValueError, match=f"^x/dataset.json .*{says}"):
        info.check_complete()


def test_tools_take_the_steps_one_by_one(tmp_path: Path) -> None:
    store = open_store(make_dataset(tmp_path, 1))
    assert read_info(store).fields["seed"] == 0
    assert store.read_range(schema.DATASET_FILE, 0, 1) == b"{"
    with pytest.raises(OSError, match="too short"):
        store.read_range(schema.DATASET_FILE, 0, 10**6)


def test_a_selection_goes_to_another_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = gs.open_dataset(make_dataset(tmp_path / "dataset", 2), cache_dir=tmp_path / "cache")
    caplog.clear()
    part = dataset.select(splits=["val"])
    copied = pickle.loads(pickle.dumps(part))
    assert copied.access.digest() == part.access.digest()
    assert copied.index_rows.tolist() == part.index_rows.tolist()
    assert caplog.messages == [], "that cache_dir is of no use there was said once"
