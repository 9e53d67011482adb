"""An environment of its own for each peer that needs packages which the development environment does not have.

    python -m benchmarks.environments [PEER ...]        makes them under .bench/, about once

An environment sees the packages of this one (torch, NumPy) behind its own, so that only what is new is installed and
what clashes (pillow-simd is a package PIL) wins there and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / ".bench"
TIMEOUT_SECONDS = 900


class NotInstalledError(RuntimeError):
    """A peer that cannot be had on this machine; says why, in one line."""


def environment(name: str) -> str:
    """The interpreter that runs a peer, its environment made if need be. Raises NotInstalledError."""
    peer: Any = import_module(name if "." in name else f"benchmarks.peers.{name}")
    requirements: tuple[str, ...] = peer.REQUIREMENTS
    if not requirements:
        return sys.executable
    folder = ROOM / "environments" / name
    python = folder / "bin" / "python"
    alone: tuple[str, ...] = getattr(peer, "NO_DEPENDENCIES", ())
    options: tuple[str, ...] = getattr(peer, "PIP_OPTIONS", ())
    wish = "\n".join([*requirements, *alone, *options, sys.version, sys.prefix])
    stamp, wanted = folder / "stamp", hashlib.sha256(wish.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    if failed := remembered_failure(folder, wanted):
        raise NotInstalledError(failed)
    print(f"bench: making the environment of {name}: {' '.join(requirements)}", file=sys.stderr, flush=True)
    venv.EnvBuilder(with_pip=False, clear=True, symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "zz_shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--progress-bar", "off"]
    commands = [[*pip, "--no-deps", *alone]] if alone else []
    commands.append([*pip, "--constraint", str(ROOT / "requirements/dev.lock"), *options, *requirements])
    log = folder / "install.log"
    if any(call(command, log, getattr(peer, "ENVIRONMENT", {})) for command in commands):
        lines = [line.strip() for line in log.read_text().splitlines() if "rror" in line] or [
            "pip ended without a word"
        ]
        why = f"pip could not install {' '.join(requirements)}: {lines[0][:200]}"
        (folder / "failed").write_text(f"{wanted}\n{why}")
        raise NotInstalledError(why)
    stamp.write_text(wanted)
    return str(python)


def call(command: list[str], log: Path, variables: dict[str, str]) -> int:
    """Run a command, its output added to the log; the exit code, -1 when it took too long."""
    with log.open("a") as output:
        try:
            return subprocess.run(
                command,
                stdout=output,
                stderr=output,
                env={**os.environ, **variables},
                timeout=TIMEOUT_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return -1


def remembered_failure(folder: Path, wanted: str) -> str:
    """Why the same installation failed before, or ""; removing .bench/environments/<peer> tries again."""
    failed = folder / "failed"
    if not failed.exists():
        return ""
    digest, _, why = failed.read_text().partition("\n")
    return why if digest == wanted else ""


def main() -> int:
    """Make the environments of the peers named, or of all."""
    for name in sys.argv[1:] or PEERS:
        try:
            print(f"{name}: {environment(name)}")
        except NotInstalledError as error:
            print(f"{name}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
