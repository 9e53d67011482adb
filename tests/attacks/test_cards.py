"""Cards of datasets whose dataset.json strangers wrote: no markup, and YAML that says no more than it should."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from shard_tools.cards.facts import facts_of
from shard_tools.cards.readme import OURS, readme
from tests.shard_tools.conftest import shard_tools_here

ODD = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "a|b", "it's", "x'\nfoo: bar", "`", "\\<b>", "{}"]


@pytest.mark.parametrize("odd", ODD)
def test_names_and_licenses_are_text(odd: str) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: scripts/setup.sh --tests")
    groups = [{"generator": name, "split": odd, "label": odd, "samples": 1, "size": 1} for name in (odd, "sd14")]
    fields: Any = {
        "format_version": 1,
        "options": {},
        "license": odd,
        "counts": {"samples": 2, "shards": 1, "groups": groups},
    }
    card = readme(facts_of(fields, ["png"], ""))
    head, text = card[4:].split("\n---\n", 1)
    found = yaml.safe_load(head)
    assert "foo" not in found
    assert found["license_name"] == odd
    assert [one["split"] for one in found["configs"][0]["data_files"]] == [odd]
    assert not re.search(r"(?<!\\)(?:<img|\[x)|a\|b|^foo", text, re.MULTILINE)
    if odd == "\\<b>":
        assert "\\\\\\<b\\>" in text


def test_a_card_of_any_size_is_left_alone(packed: Path, tmp_path: Path) -> None:
    """It is not read to see whose it is."""
    shutil.copytree(packed, tmp_path / "dst")
    card = f"{OURS}\n" + "x" * (16 << 20)
    (tmp_path / "dst" / "README.md").write_text(card)
    assert shard_tools_here("drop", tmp_path / "dst", "--generators", "adm").code == 0
    assert (tmp_path / "dst" / "README.md").read_text() == card
