"""Python's headers, of each version that wheels are made for: from an interpreter here, else from Debian.

No interpreter of that version runs for a wheel: the extension is compiled with these headers, for another processor
too. On 64-bit Linux pyconfig.h differs between x86-64 and ARM only in what Python's own sources use.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import debian

#: Which of Debian's suites has a version of Python.
SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
ASK = "import json, sysconfig as s; print(json.dumps([s.get_paths()[k] for k in ('include', 'platinclude')]))"


def headers(version: str, folder: Path) -> Path | None:
    """A folder with Python.h of this version (e.g. 3.12), made anew; None where there is none to be had."""
    place = folder / version
    shutil.rmtree(place, ignore_errors=True)
    for name in candidates(version):
        try:
            said = subprocess.run([name, "-c", ASK], capture_output=True, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        include = next((path for path in map(Path, json.loads(said)) if (path / "Python.h").exists()), None)
        if include and (include / "pyconfig.h").exists():
            return plain(include, include.parent, version, place)
    if version not in SUITES:
        return None
    try:
        root = debian.unpacked(SUITES[version], f"libpython{version}-dev:amd64", folder / f"{version}-debian")
    except (OSError, subprocess.SubprocessError):
        return None
    return plain(root / f"usr/include/python{version}", root / "usr/include", version, place)


def candidates(version: str) -> list[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path / "bin/python") for path in sorted(pyenv.glob(f"{version}.*"))]
    return [f"python{version}", *found]


def plain(include: Path, parent: Path, version: str, place: Path) -> Path:
    """A copy whose pyconfig.h is that of x86-64 itself, not Debian's choice between machines."""
    shutil.copytree(include, place)
    of_machine = parent / f"x86_64-linux-gnu/python{version}/pyconfig.h"
    if of_machine.exists():
        shutil.copy(of_machine, place / "pyconfig.h")
    found = re.search(r'PY_VERSION\s+"(\d+\.\d+)', (place / "patchlevel.h").read_text())
    if not found or found[1] != version:
        raise OSError(f"{include} is not of Python {version}")
    return place
