"""Writes requirements/*.lock: exact versions for every supported Python, with environment markers where they differ.

    python scripts/lock.py dev.lock          (or tests.lock, or nothing for all of them)

The wishes stand in pyproject.toml; this only resolves them, with the pip of each interpreter found (python3.10 to
python3.13 on PATH), and merges the answers. torch's CUDA packages are left out: torch itself pins them exactly, and a
CPU build of torch does not want them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
TORCH = "torch==2.13.0"
PINNED_BY_TORCH = re.compile(r"^(nvidia-(?!dali|nvcomp|nvimgcodec|nvjpeg|nvtiff|libnvcomp|nvjpeg2k)|cuda-|triton$)")


def wishes() -> dict[str, list[str]]:
    """What each lock file has to satisfy, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    base = [*project["build-system"]["requires"], "wheel", *project["project"]["dependencies"], TORCH]
    return {"dev.lock": [*base, *extras["dev"]], "tests.lock": extras["tests"]}


def resolve(python: str, requirements: list[str], constraints: Path | None) -> dict[str, str]:
    """Name -> version of everything that pip would install under this interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), *requirements]
        if constraints:
            command += ["-c", str(constraints)]
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        found = {}
        for item in json.loads(report.read_text())["install"]:
            meta = item["metadata"]
            name = re.sub(r"[-_.]+", "-", meta["name"]).lower()
            found[name] = meta["version"].partition("+")[0]  # a local build (+cpu) satisfies the public version
        return {name: version for name, version in found.items() if not PINNED_BY_TORCH.match(name)}


def merged(resolved: dict[str, dict[str, str]]) -> list[str]:
    """One line per package and version; a marker names the Pythons where not all of them agree."""
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python, packages in resolved.items():
        for name, version in packages.items():
            versions[name][version].append(python)
    lines = []
    for name in sorted(versions):
        for version, pythons in versions[name].items():
            lines.append(f"{name}=={version}{marker(pythons, list(resolved))}")
    return lines


def marker(pythons: list[str], everywhere: list[str]) -> str:
    """The shortest marker for a run of Pythons; the newest run is open upwards, so that a newer Python may try."""
    if pythons == everywhere:
        return ""
    first, last = everywhere.index(pythons[0]), everywhere.index(pythons[-1])
    if everywhere[first : last + 1] != pythons:
        return "; " + " or ".join(f'python_version == "{python}"' for python in pythons)
    lower = [f'python_version >= "{everywhere[first]}"'] if first else []
    upper = [f'python_version < "{everywhere[last + 1]}"'] if last + 1 < len(everywhere) else []
    return "; " + " and ".join(lower + upper)


def main() -> int:
    """Resolve and write the lock files named on the command line, or all."""
    wanted = sys.argv[1:] or list(wishes())
    interpreters = {python: shutil.which(f"python{python}") for python in PYTHONS}
    if missing := [python for python, path in interpreters.items() if path is None]:
        print(f"lock: no interpreter for Python {', '.join(missing)} on PATH; install them first", file=sys.stderr)
        return 2
    for name in wanted:
        constraints = ROOT / "requirements/dev.lock" if name != "dev.lock" else None
        resolved = {}
        for python, path in interpreters.items():
            print(f"lock: {name} for Python {python}", file=sys.stderr)
            resolved[python] = resolve(str(path), wishes()[name], constraints)
        lines = merged(resolved)
        head = f"# {name}: made by scripts/lock.py from pyproject.toml; do not edit by hand.\n"
        (ROOT / "requirements" / name).write_text(head + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
