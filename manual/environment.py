"""The environment that the site is made in: MkDocs and its theme, apart from .venv."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements/docs.lock"


def interpreter(room: Path) -> Path:
    """The Python of the environment in `room`, which is made when it is missing or the lock has changed.

    Raises SystemExit with the last lines of pip when a package cannot be had."""
    folder = room / "environment"
    python, stamp = folder / "bin/python", folder / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + sys.prefix.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print("docs: making the environment of the manual (MkDocs, about 50 MB)", file=sys.stderr, flush=True)
    venv.EnvBuilder(with_pip=False, clear=True, symlinks=True).create(folder)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--progress-bar", "off"]
    done = subprocess.run([*command, "-r", str(LOCK)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-3:])
        lock = LOCK.relative_to(ROOT)
        raise SystemExit(f"docs: pip could not install {lock}; check the network, run make docs again\n{said}")
    stamp.write_text(wanted)
    return python
