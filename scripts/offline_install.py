"""Installs a bundle of scripts/offline_bundle.py, of which this is a part, on a machine without a network.

    python3 bundle/install.py TARGET

TARGET is a new folder. It is made under another name beside it, TARGET.and-more, and renamed when it is complete; what
fails is removed again. Nothing else is written but the folders above TARGET that are missing. The pieces are looked for
beside this file; each may have come by a way of its own. It needs an x86-64 machine with 513 MB of memory to unpack,
neither pip nor a compiler, and prints the lines to type next.

Exit code 2: this bundle cannot be installed here, or not yet, and why is said. 1: installed, but something is missing.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import lzma
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTENTS = "bundle.json"
CHECKOUT, SITE, DATA = "genimage-stream", "site", "data"
#: What is in it and has to work.
IMPORTS = ("nvidia.dali.fn", "webdataset")
#: What a bundle leaves to the machine, and what gpu_check needs of it: module, package.
FROM_THE_MACHINE = ("torch", "numpy", "pyarrow", "click", "rich")
PILLOW = {"PIL": "pillow"}
FOR_STAND_INS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


class CannotInstallError(RuntimeError):
    """Says why, and what to do."""


class Joined:
    """Reads files one behind the other."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = iter(paths)
        self._file = next(self._paths).open("rb")

    def read(self, size: int) -> bytes:
        while not (found := self._file.read(size)):
            self._file.close()
            following = next(self._paths, None)
            if following is None:
                return b""
            self._file = following.open("rb")
        return found


def read_contents(bundle: Path) -> dict[str, Any]:
    path = bundle / CONTENTS
    if not path.exists():
        raise CannotInstallError(f"{path} is not there: copy it from the bundle to where the pieces are")
    try:
        contents: dict[str, Any] = json.loads(path.read_text())
        _ = contents["archives"], contents["suffix"], contents["machine"]
    except (ValueError, KeyError):
        raise CannotInstallError(f"{path} is damaged: copy it again") from None
    return contents


def check_machine(contents: dict[str, Any]) -> None:
    """Whether what was compiled for the bundle runs under this interpreter and on this system."""
    if platform.machine() != contents["machine"]:
        raise CannotInstallError(
            f"this bundle is for {contents['machine']}, the only kind of machine that bundles are made for, and this "
            f"machine is {platform.machine()}"
        )
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    if suffix != contents["suffix"]:
        version = contents["python"]
        raise CannotInstallError(
            f"this bundle is for Python {version} ({contents['suffix']}), and {sys.executable} is Python "
            f"{platform.python_version()} ({suffix}): run install.py by a Python {version}, or make a bundle with "
            "scripts/offline_bundle.py by a Python of this version"
        )
    have = (platform.libc_ver()[1] or "0").split(".")
    if [int(part) for part in have] < [int(part) for part in contents["glibc"].split(".")]:
        raise CannotInstallError(
            f"this bundle needs glibc {contents['glibc']} or newer, and this machine has {'.'.join(have)}: make the "
            "bundle on a system as old as this one"
        )


def check_pieces(bundle: Path, contents: dict[str, Any]) -> None:
    """Whether all pieces are there and whole; says of all of them at once which to copy."""
    missing, damaged = [], []
    for archive in contents["archives"].values():
        for piece in archive["pieces"]:
            path = bundle / piece["name"]
            if not path.exists():
                missing.append(piece["name"])
            elif path.stat().st_size != piece["bytes"] or digest(path) != piece["sha256"]:
                damaged.append(f"{piece['name']} ({path.stat().st_size:,} of {piece['bytes']:,} bytes)")
    said = [f"missing: {', '.join(missing)}"] if missing else []
    said += [f"damaged, or of another bundle: {', '.join(damaged)}"] if damaged else []
    if said:
        raise CannotInstallError(f"{'; '.join(said)}; copy these from the bundle to {bundle} and try again")


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def check_target(target: Path, contents: dict[str, Any]) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CannotInstallError(f"{target} is there already: name a new folder, or remove that one")
    needed = sum(archive["unpacked"] for archive in contents["archives"].values())
    parent = next(folder for folder in target.parents if folder.exists())
    if (free := shutil.disk_usage(parent).free) < needed:
        raise CannotInstallError(
            f"{needed / 1e6:,.0f} MB are needed in {parent}, and {free / 1e6:,.0f} MB are free: name another folder"
        )


def unpack(bundle: Path, contents: dict[str, Any], target: Path) -> None:
    """Under another name beside `target` until it is complete; nothing is left of it if that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as scratch:
        unfinished = Path(scratch) / target.name  # a folder for all users, as `scratch` is not
        unfinished.mkdir()
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        for name, archive in contents["archives"].items():
            begin = time.monotonic()
            pieces: Any = Joined([bundle / piece["name"] for piece in archive["pieces"]])
            with lzma.LZMAFile(pieces) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                tar.extractall(unfinished, **safely)
            say(f"{name} unpacked, {archive['unpacked'] / 1e6:,.0f} MB in {time.monotonic() - begin:.0f} s")
        # Bytecode now, on all cores: several processes at once would each compile DALI's modules for themselves. Some
        # packages hold files that are no Python for this version.
        compileall.compile_dir(str(unfinished), quiet=2, workers=0, stripdir=str(unfinished), prependdir=str(target))
        if target.exists():
            target.rmdir()  # an empty one
        unfinished.rename(target)


def paths(target: Path) -> list[str]:
    return [str(target / SITE), str(target / CHECKOUT)]


def what_is_missing(target: Path, contents: dict[str, Any]) -> Iterator[str]:
    """A sentence for each thing that this machine should have and does not, found out in a process of its own."""
    path = os.pathsep.join([*paths(target), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        variables = {**os.environ, "PYTHONPATH": path}
        where = target / CHECKOUT  # the current folder comes before PYTHONPATH
        return subprocess.run(command, cwd=where, env=variables, capture_output=True, text=True, check=False)

    code = "import sys; from importlib.util import find_spec; print(*(m for m in sys.argv[1:] if not find_spec(m)))"
    wanted = [*FROM_THE_MACHINE, *PILLOW, *([] if contents["data"] else FOR_STAND_INS)]
    lacking = run(code, *wanted).stdout.split()
    for module in lacking:
        use = "the stand-ins are made with it" if module in FOR_STAND_INS else "genimage-stream needs it"
        use = "gpu_check compares with webdataset + Pillow" if module in PILLOW else use
        package = {**PILLOW, **FOR_STAND_INS}.get(module, module)
        yield (
            f"{package} is not installed for {sys.executable}, and {use}: name another Python, or make the bundle with "
            f"--add {package}"
        )
    modules = [] if set(FROM_THE_MACHINE) & set(lacking) else ["genimage_stream.decode", *IMPORTS]
    for module in modules:
        done = run(f"import {module}")
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            yield f"{module} cannot be imported: {said}"


def next_lines(target: Path, contents: dict[str, Any]) -> list[str]:
    options = [f"--{name} {shlex.quote(str(target / DATA / name))}" for name in contents["data"]]
    return [
        f"export PYTHONPATH={shlex.quote(os.pathsep.join(paths(target)))}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"cd {shlex.quote(str(target / CHECKOUT))}",
        " ".join([shlex.quote(sys.executable), "-m benchmarks.gpu_check --no-build", *options]),
    ]


def say(text: str) -> None:
    print(f"install: {text}", file=sys.stderr, flush=True)


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    bundle, target = Path(__file__).resolve().parent, Path(sys.argv[1]).resolve()
    try:
        contents = read_contents(bundle)
        check_machine(contents)
        check_pieces(bundle, contents)
        check_target(target, contents)
        unpack(bundle, contents, target)
    except CannotInstallError as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or target}")
        return 2
    except MemoryError:
        say("there is too little memory: unpacking needs 513 MB, and ulimit -v may allow less")
        return 2
    missing = list(what_is_missing(target, contents))
    for sentence in missing:
        say(sentence)
    print("\n".join(next_lines(target, contents)))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
