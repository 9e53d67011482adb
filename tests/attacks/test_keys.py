"""File names chosen to clash with the keys that clashing files get: packing ends, and every file has a key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from shard_tools.keys import DIGITS, LONGEST
from tests.fixtures.genimage import fake_png
from tests.shard_tools.conftest import index_rows, pack_here, tars
from tests.shard_tools.test_unreadable import within


def decoys(digest: str) -> list[str]:
    """Names of every digest that was ever a suffix, and of the numbers behind it."""
    return [f"x~{digest[:n]}" for n in range(DIGITS, 65)] + [f"x~{digest[:DIGITS]}~{n}" for n in range(2, 30)]


@pytest.mark.parametrize("stem", ["x", "x" * 200], ids=["short", "long"])
def test_names_that_take_the_keys_of_others(stem: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = [fake_png(rng, 4) for _ in range(2)]
    for number, data in enumerate(images):
        folder = tmp_path / "src" / f"{number}" / "adm" / "train" / "ai"
        folder.mkdir(parents=True)
        (folder / f"{stem}.png").write_bytes(data)
        for decoy in decoys(hashlib.sha256(data).hexdigest()):
            (folder / f"{decoy.replace('x', stem[:150], 1)}.png").write_bytes(fake_png(rng, 4))
    within(60, lambda: pack_here(tmp_path / "src", tmp_path / "dst"))
    rows = index_rows(tmp_path / "dst")
    assert len({row["key"] for row in rows}) == len(rows) == sum(1 for _ in (tmp_path / "src").rglob("*.png"))
    assert max(len(row["key"]) for row in rows) <= LONGEST


def test_keys_of_long_names_fit_the_plain_header(tmp_path: Path) -> None:
    """Prompts as file names: they keep their beginning and get a hash, wherever the files are found."""
    folder = tmp_path / "src" / "midjourney-v6" / "train" / "ai"
    folder.mkdir(parents=True)
    prompt = "someuser_A_clean_studio_portrait_of_an_astronaut_riding_a_horse_in_the_style_of_a_pencil_drawing_{}_3ad6"
    for number in range(3):
        (folder / f"{prompt.format(number)}.png").write_bytes(fake_png(np.random.default_rng(number), 4))
    (folder / ("日本語の長い名前" * 5 + ".png")).write_bytes(fake_png(np.random.default_rng(9), 4))
    pack_here(tmp_path / "src", tmp_path / "dst")
    rows = index_rows(tmp_path / "dst")
    assert all(len(row["key"]) < 90 for row in rows)
    assert sum(row["key"].startswith("midjourney-v6_train_fake_someuser_A_clean_studio") for row in rows) == 3
    for data in tars(tmp_path / "dst").values():
        assert b"PaxHeader" not in data
    (tmp_path / "other" / "deeper").mkdir(parents=True)
    folder.parents[1].rename(tmp_path / "other" / "deeper" / "midjourney-v6")
    pack_here(tmp_path / "other", tmp_path / "again")
    assert tars(tmp_path / "again") == tars(tmp_path / "dst")
