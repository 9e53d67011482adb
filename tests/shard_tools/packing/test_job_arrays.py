"""`--part auto`, and the examples for job arrays of Slurm and indexed Jobs of Kubernetes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import pack_here, shard_tools_here, tree_bytes

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A few images, and what they are packed. Not to be written to."""
    root = tmp_path_factory.mktemp("sets")
    make_tree(root / "GenImage", generators=("adm",), count=1)
    pack_here(root / "GenImage", root / "shards", shard_bytes=256_000_000)
    return root / "GenImage", root / "shards"


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "JOB_COMPLETION_")):
            monkeypatch.delenv(name)


SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "12"}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_STEP": "1"}, "part 3/8"),
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "8", "JOB_COMPLETION_INDEX": "1"}, "part 3/8"),
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_STEP": "2"}, "parts have no gaps"),
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "3"}, "parts have no gaps"),  # --array=5,7,12
        ({**SLURM}, "SLURM_ARRAY_TASK_COUNT is not set"),
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "many"}, "SLURM_ARRAY_TASK_COUNT is 'many'"),
        ({"JOB_COMPLETION_INDEX": "7", "JOB_COMPLETION_COUNT": "8"}, "part 8/8"),
        ({"JOB_COMPLETION_INDEX": "8", "JOB_COMPLETION_COUNT": "8"}, "there is no part 9 of 8"),
        ({"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETION_COUNT is not set; set it in the Job"),
        ({}, "this is no job array"),
    ],
)
def test_the_part_that_a_scheduler_says(
    environment: dict[str, str], part: str, sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = shard_tools_here("pack", *sets, "--part", "auto")
    assert part in done.out + done.err
    assert done.code == (0 if part.startswith("part ") else 2)


@pytest.mark.parametrize(("more", "part"), [({}, "auto"), ({"PARTS": "64"}, "7/64")])
def test_the_script_for_slurm(more: dict[str, str], part: str, tmp_path: Path) -> None:
    """What it runs; sbatch itself, which would check its options, is only where Slurm is."""
    script = EXAMPLES / "pack-array.sbatch"
    stub = tmp_path / "shard-tools"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SRC": "a b", "DST": "d", "SLURM_ARRAY_TASK_ID": "7"}
    ran = subprocess.run(
        ["bash", str(script), "--seed", "3"],
        env={**environment, "SLURM_CPUS_PER_TASK": "8", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split("\n")[:-1] == ["pack", "a b", "d", "--part", part, "--workers", "8", "--seed", "3"]
    assert subprocess.run(["bash", str(script)], env={"DST": "d"}, capture_output=True, check=False).returncode != 0
    lines = script.read_text().splitlines()
    options = [n for n, line in enumerate(lines) if line.startswith("#SBATCH --")]
    assert all(line.startswith("#") for line in lines[: options[-1]])  # behind a command, sbatch would not see them


@pytest.fixture(scope="module")
def jobs() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((EXAMPLES / "pack-job.yaml").read_text()))


def test_the_jobs_for_kubernetes(
    jobs: list[dict[str, Any]], sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What their pods run, in the pods' environment, is a whole dataset."""
    pack, gather = (job["spec"]["template"]["spec"]["containers"][0] for job in jobs)
    (count,) = pack["env"]
    assert (count["name"], int(count["value"])) == ("JOB_COMPLETION_COUNT", jobs[0]["spec"]["completions"])
    assert jobs[0]["spec"]["completionMode"] == "Indexed"
    (tmp_path / "GenImage").symlink_to(sets[0])
    monkeypatch.setenv("JOB_COMPLETION_COUNT", "2")
    for index, container in (("0", pack), ("1", pack), ("", gather)):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
        name, *arguments = container["command"]
        done = shard_tools_here(*(word.replace("/data", str(tmp_path)) for word in arguments))
        assert (name, done.code) == ("shard-tools", 0), done.err
    assert tree_bytes(tmp_path / "shards") == tree_bytes(sets[1])


def test_the_jobs_fit_the_schema_of_kubernetes(jobs: list[dict[str, Any]]) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for job in jobs:
        validator.validate(job, "1.29", strict=True)
    with pytest.raises(validator.ValidationError):
        validator.validate({**jobs[0], "spec": {**jobs[0]["spec"], "completion": 3}}, "1.29", strict=True)
