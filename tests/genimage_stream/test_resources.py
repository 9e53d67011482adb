"""Sizes as people write them, and the CPUs of this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genimage_stream.resources import cores, cores_of_rank, cpu_quota, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50GB", 50 * 10**9),
        ("1.5 MiB", 3 << 19),
        ("7", 7),
        (8, 8),
        (5e9, 5 * 10**9),
        (np.int64(9), 9),
        ("2k", 2000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: float | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5 apples", "-1", "1.2.3G", ".", -5, "5I", float("nan"), True, None, [5]])
def test_no_sizes(text: Any) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    quota = cpu_quota()
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
    assert cores() == len(os.sched_getaffinity(0)) or quota is not None
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert cores_of_rank() == cores()
    for processes in ("1", "2", "64", "", "x", "0"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert cores_of_rank() == max(1, cores() // {"2": 2, "64": 64}.get(processes, 1))


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/job/step", {"job/step/cpu.max": "50000 100000"}, 0.5),
        ("0::/job/step", {"job/step/cpu.max": "max 100000", "job/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/step", {"job/step/cpu.max": "400000 100000", "job/cpu.max": "150000 100000"}, 1.5),
        ("0::/job", {"job/cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),  # in a container with a namespace of its own
        ("0::/../other", {"other/cpu.max": "50000 100000"}, 0.5),
        ("0::/job", {"job/cpu.max": "odd"}, None),
        ("0::/job", {"job/cpu.max": "0 0"}, None),
        ("0::/job", {}, None),
        ("4:cpuacct,cpu:/job\n3:memory:/m", {"cpu/job/cpu.cfs_": ("300000", "100000")}, 3.0),
        ("4:cpu:/job", {"cpu/job/cpu.cfs_": ("-1", "100000")}, None),
        ("4:cpu:/docker/1f", {"cpu/cpu.cfs_": ("50000", "100000")}, 0.5),  # the path is that of the host
        ("4:cpu:/a\n0::/b", {"cpu/a/cpu.cfs_": ("700000", "100000"), "b/cpu.max": "4 2"}, 2.0),
    ],
)
def test_quotas_of_cgroups(tmp_path: Path, groups: str, files: dict[str, Any], quota: float | None) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    write("own", groups)
    for name, text in files.items():
        if isinstance(text, str):
            write(f"cgroup/{name}", text)
        else:
            for kind, part in zip(("quota_us", "period_us"), text, strict=True):
                write(f"cgroup/{name}{kind}", part)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == quota
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "none") is None
