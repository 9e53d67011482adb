"""Damaged Arrow and Parquet files as sources: a sentence, never the end of the process. Paths in them that lead out."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shard_tools.errors import ToolError
from shard_tools.scan import scan
from tests.attacks.test_odd_tars import png
from tests.shard_tools.conftest import shard_tools_here


def written(kind: str) -> bytes:
    table = pa.table(
        {"image": [b"x" * 50] * 6, "image_path": [f"adm/train/ai/{i}.png" for i in range(6)], "label": [0, 1] * 3}
    )
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink)
    else:
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed[: int(rng.integers(1, len(changed)))] if rng.random() < 0.1 else changed)


@pytest.mark.parametrize("kind", ["stream", "file", "parquet"])
def test_damage_never_ends_the_process(kind: str, tmp_path: Path) -> None:
    data = written(kind)
    path = tmp_path / "src" / ("x.parquet" if kind == "parquet" else "x.arrow")
    path.parent.mkdir()
    ends: dict[int, list[int]] = {}
    for seed in range(30):
        path.write_bytes(damaged(data, np.random.default_rng(seed)))
        child = os.fork()
        if not child:
            code = 2
            try:
                scan([str(path.parent)])
                code = 0
            except (ToolError, OSError, ValueError):
                code = 1
            finally:
                os._exit(code)
        ends.setdefault(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), []).append(seed)
    assert set(ends) <= {0, 1}, ends


def test_paths_that_lead_out(tmp_path: Path) -> None:
    """What leads up or to a root leads nowhere, so that the images can be exported again."""
    (tmp_path / "src").mkdir()
    paths = ["../../x/a.png", "/etc/b.png", "a/../c.png", "..", "./d.png", "e//f.png", "..\\g.png", "h..i.png"]
    image = [png(number) for number in range(len(paths))]
    table = pa.table({"image": image, "image_path": paths, "label": ["fake"] * len(paths)})
    pq.write_table(table, tmp_path / "src" / "sd14.parquet")
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 0, done.err
    done = shard_tools_here("export", tmp_path / "dst", tmp_path / "files")
    assert done.code == 0, done.err
    names = {path.name for path in (tmp_path / "files").rglob("*.png")}
    assert names == {"a.png", "b.png", "c.png", "sd14-00000003.png", "d.png", "f.png", "g.png", "h..i.png"}
