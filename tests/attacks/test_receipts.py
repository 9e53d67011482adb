"""Receipts of strangers: they run no code, take no memory, print no control characters, and name what is wrong."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import genimage_stream as gs
from genimage_stream.cli import app
from genimage_stream.loading.receipt import receipt_hash
from genimage_stream.transforms import CenterCrop
from tests.fixtures.shards import make_dataset

Receipt = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 2)


@pytest.fixture
def receipt(root: Path) -> Receipt:
    found: Receipt = gs.Loader(gs.open_dataset(root), 4, transform=[CenterCrop(16)]).receipt()
    return found


def replayed(folder: Path, receipt: Any, *more: str) -> tuple[int, str]:
    if isinstance(receipt, dict):
        receipt["hash"] = receipt_hash(receipt)
    (folder / "receipt.json").write_text(json.dumps(receipt))
    result = CliRunner().invoke(app, ["replay", str(folder / "receipt.json"), "--check", *more])
    return result.exit_code, result.output


@pytest.mark.parametrize("inner", [False, True])
def test_functions_are_imported_only_when_that_is_asked_for(
    receipt: Receipt, tmp_path: Path, inner: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_a_stranger.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\ndef step(image, rng): return image\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    step: Any = {"Map": {"name": "of_a_stranger:step", "version": 0}}
    if inner:
        step = {"RandomApply": {"transforms": [step], "p": 0.5}}
    receipt["options"]["transform"].insert(0, step)
    code, said = replayed(tmp_path, receipt)
    assert code == 2
    assert "'of_a_stranger:step', and importing that runs code" in said
    assert not (tmp_path / "ran").exists()
    assert "of_a_stranger" not in sys.modules
    code, said = replayed(tmp_path, receipt, "--functions")
    assert (tmp_path / "ran").exists()
    sys.modules.pop("of_a_stranger", None)


def bomb(receipt: Receipt) -> None:
    """Made when it is asked for: it takes a second."""
    receipt["selection"] = base64.b85encode(zlib.compress(bytes(1 << 28), 1)).decode()


def put(*path: str, value: Any) -> Callable[[Receipt], None]:
    def change(receipt: Receipt) -> None:
        for name in path[:-1]:
            receipt = receipt[name]
        receipt[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[Receipt], None]:
    def change(receipt: Receipt) -> None:
        for name in path[:-1]:
            receipt = receipt[name]
        del receipt[path[-1]]

    return change


def mixed(size: Any, real: float = 1.0, fake: float = 1.0) -> Callable[[Receipt], None]:
    def change(receipt: Receipt) -> None:
        receipt["options"] |= {"mix": [["label", [["fake", fake], ["real", real]]]], "epoch_size": size}

    return change


def in_windows(receipt: Receipt) -> None:
    receipt["options"] |= {"shuffle": "shards", "window": 10**20}


WRONG = {
    "bomb": bomb,
    "no compression": put("selection", value="Zm9v"),
    "no base85": put("selection", value='"""'),
    "endless run": put("selection", value=[[0, 10**15]]),
    "falling run": put("selection", value=[[5, 0]]),
    "run before": put("selection", value=[[-(10**15), 3]]),
    "overlapping runs": put("selection", value=[[0, 5], [2, 8]]),
    "odd run": put("selection", value=[[0]]),
    "number": put("selection", value=7),
    "words": put("selection", value=["ab"]),
    "null": put("selection", value=[[None, None]]),
    "no options": drop("options"),
    "options": put("options", value=[]),
    "no transform": drop("options", "transform"),
    "transform": put("options", "transform", value={"a": 1}),
    "steps": put("steps", value="x"),
    "deep": put("steps", value=json.loads("[" * 300 + "]" * 300)),
    "unknown option": put("options", "cache_dir", value="/etc"),
    "another option": put("options", "backend", value="cpu"),
    "batch": put("options", "batch_size", value="\x1b[2J"),
    "mix": put("options", "mix", value=[["generator"]]),
    "mix rule": put("options", "mix", value=[["generator", [[1, 2, 3]]]]),
    "orders": put("orders", value=[1]),
    "epoch": put("orders", value={"\x1b[2J": "x"}),
    "huge epoch": put("orders", value={"9" * 5000: "x"}),
    "epoch beyond the last": put("orders", value={"9" * 30: "x"}),
    "endless epoch": mixed(10**12),
    "epoch by a weight": mixed("max", 1e-12),
    "huge weights": mixed("all", 1e308, 1e308),
    "huge window": in_windows,
    "huge crop": put("options", "transform", value=[{"CenterCrop": {"size": 60000}}]),
    "no pixels": drop("pixels"),
    "no epochs": drop("epochs"),
    "path": put("path", value=None),
    "path of numbers": put("path", value=3),
    "nul": put("path", value="a\0b"),
    "link-local": put("path", value="http://169.254.169.254/latest"),
    "scheme": put("path", value="javascript:alert(1)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_a_sentence(receipt: Receipt, tmp_path: Path, kind: str) -> None:
    WRONG[kind](receipt)
    code, said = replayed(tmp_path, receipt)
    assert code == 2, said
    assert said.startswith("genimage-stream: ")
    assert said.strip().isprintable()
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["[" * 100_000, "3", "[]", "null", '"x"', "{}", '{"receipt": 1}', "\x1b", ""])
def test_what_is_no_receipt_is_said_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "receipt.json").write_text(text)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "receipt.json")])
    assert result.exit_code == 2, result.output
    assert "receipt" in result.output


def test_what_is_printed_has_no_control_characters(receipt: Receipt, tmp_path: Path) -> None:
    receipt["epochs"] = "\x1b[2J"
    _, said = replayed(tmp_path, receipt)
    assert "\x1b" not in said
