"""`--part`: which part of a dataset a process packs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shard_tools.errors import ToolError

MOST = 100_000  # parts
_REMEDY = "write e.g. --part 3/64, from 1/64 to 64/64"


@dataclass(frozen=True)
class Part:
    """Part `number`, counted from 1, of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def shards(self, planned: int) -> range:
        """The numbers of its shards. Neighbours go to different parts, so that all get some of every group."""
        return range(self.number - 1, planned, self.count)


def parse_part(text: str, environment: Mapping[str, str]) -> Part:
    """`3/64`, or `auto`: what the scheduler of a job array says in the environment. Raises ToolError."""
    if text == "auto":
        return _automatic(environment)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise ToolError(f"--part {text}: {_REMEDY}, or --part auto in a job array")
    return _checked(f"--part {text}", int(found[1]), int(found[2]))


def _checked(shown: str, number: int, count: int) -> Part:
    if not 1 <= count <= MOST:
        raise ToolError(f"{shown}: {count} parts; choose 1 to {MOST:,}")
    if not 1 <= number <= count:
        raise ToolError(f"{shown}: there is no part {number} of {count}; {_REMEDY}")
    return Part(number, count)


def _automatic(environment: Mapping[str, str]) -> Part:
    def value(name: str, why: str) -> int:
        text = environment.get(name, "")
        if not re.fullmatch("[0-9]{1,9}", text):
            shown = f"{name} is {text!r}, which is no number" if text else f"{name} is not set"
            raise ToolError(f"--part auto: {shown}; {why}")
        return int(text)

    if "SLURM_ARRAY_TASK_ID" in environment:
        why = "run it in a Slurm job array, or write e.g. --part 3/64"
        number, first, count = (value(f"SLURM_ARRAY_TASK_{name}", why) for name in ("ID", "MIN", "COUNT"))
        step = value("SLURM_ARRAY_TASK_STEP", why) if "SLURM_ARRAY_TASK_STEP" in environment else 1
        last = value("SLURM_ARRAY_TASK_MAX", why) if "SLURM_ARRAY_TASK_MAX" in environment else first + count - 1
        if (step != 1 and count > 1) or last - first + 1 != count:
            raise ToolError(
                f"--part auto: the Slurm array has {count} tasks from {first} to {last} in steps of {step}, and parts "
                'have no gaps: submit one like --array=1-64, or give --part "$SLURM_ARRAY_TASK_ID/64" to run some again'
            )
        return _checked(f"--part auto (Slurm array task {number})", number - first + 1, count)
    if "JOB_COMPLETION_INDEX" in environment:
        why = "set it in the Job to its number of completions, as examples/pack-job.yaml does"
        index, count = value("JOB_COMPLETION_INDEX", why), value("JOB_COMPLETION_COUNT", why)
        return _checked(f"--part auto (completion index {index})", index + 1, count)
    raise ToolError(
        "--part auto: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set, so this is no job array: " + _REMEDY
    )


def ranges(numbers: list[int]) -> str:
    """Sorted numbers as a list of ranges, e.g. 3,7-9."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
