"""Archives of Debian's suites, also of others than the machine's own, by apt-get with lists of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

STATE = Path("build/wheels/debian").absolute()
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@cache
def mirror() -> str:
    """That which the machine itself uses."""
    lists = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in lists if path.is_file())
    found = re.search(r"^(?:URIs: *|deb (?:\[.*?\] )?)(\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
    if not found or not KEYRING.exists() or not shutil.which("apt-get"):
        raise OSError("this machine is not a Debian")
    return found[1]


@cache
def options(suite: str) -> tuple[str, ...]:
    """For apt-get, with the lists of this suite brought up to date."""
    state = STATE / suite
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    lines = [f"{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n" for kind in ("deb", "deb-src")]
    (state / "sources.list").write_text("".join(lines))
    settings = {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
    }
    found = tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))
    apt_get(*found, "update", cwd=state)
    return found


def apt_get(*words: str, cwd: Path) -> None:
    subprocess.run(
        ["apt-get", "-qq", *words], cwd=cwd, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}
    )


def source(suite: str, package: str, folder: Path) -> Path:
    """The archive that a source package was made of."""
    place = folder / f"debian-{package}"
    place.mkdir(parents=True, exist_ok=True)
    apt_get(*options(suite), "source", "--download-only", "--tar-only", package, cwd=place)
    return next(place.glob("*.orig.tar.*"))


def unpacked(suite: str, package: str, folder: Path) -> Path:
    """The files of a package, without installing it."""
    folder.mkdir(parents=True, exist_ok=True)
    apt_get(*options(suite), "download", package, cwd=folder)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", archive, folder], check=True, capture_output=True)
    archive.unlink()
    return folder
