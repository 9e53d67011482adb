"""Commands leave no thread of Arrow behind that still holds Python's memory: it would abort the ending interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stand_ins.tree import write_subset

CHILD = """
import os, sys
import pyarrow.compute, pyarrow.dataset, pyarrow.parquet
from shard_tools.info import dataset_info, quarantine_info
import genimage_stream as gs

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
dataset = gs.open_dataset(sys.argv[1])
assert len(dataset.select(where=pyarrow.compute.field("width") > 1))
assert quarantine_info(sys.argv[1]) and dataset_info(sys.argv[1])
print(threads() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to count threads in")
def test_reading_a_dataset_starts_no_thread_of_arrow(tmp_path: Path) -> None:
    write_subset(tmp_path / "tree", "biggan", {"train": 4, "val": 3})
    pack = [sys.executable, "-m", "shard_tools", "pack", str(tmp_path / "tree"), str(tmp_path / "shards")]
    subprocess.run(pack, check=True, capture_output=True)
    child = [sys.executable, "-c", CHILD, str(tmp_path / "shards")]
    assert subprocess.run(child, check=True, capture_output=True, text=True).stdout.strip() == "0"
