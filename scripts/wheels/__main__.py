"""Makes the wheels and the source distribution in dist/. `make wheels` runs it.

    .venv/bin/python scripts/wheels                                   all of them
    .venv/bin/python scripts/wheels --arch x86_64 --python 3.11       one

Clang with libc++, as the package `ziglang` brings them, compiles for any glibc and for another processor; the codecs
are linked in. So any Linux makes the same wheels, without containers. One wheel per version of Python:
docs/decisions/wheels.md says why. Everything that is downloaded is pinned: tools in requirements/wheels.txt, sources by
their SHA-256 in libraries.py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import headers
import sbom
from libraries import LIBRARIES, CannotBuildError, Library, build, digest, fetch, run, unpack

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build/wheels"
GLIBC = "2.28"  # numpy, pyarrow and torch have wheels for no older one
ARCHS = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.14t")
#: What zig links in besides. Its own runtime is under MIT, LLVM's under Apache-2.0 with an exception.
RUNTIMES = (("libcxx", "Apache-2.0 WITH LLVM-exception"), ("libunwind", "Apache-2.0 WITH LLVM-exception"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", choices=ARCHS, default=ARCHS)
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder, dist/ by default")
    parser.add_argument("--all", action="store_true", help="fail where the headers of a Python cannot be had")
    return parser.parse_args()


def main() -> None:
    given = parse()
    os.chdir(ROOT)
    if "x86_64" in given.arch and not shutil.which("nasm"):
        raise CannotBuildError("libjpeg-turbo needs nasm to be built: apt-get install nasm, and try again")
    python = tools()
    when = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False).stdout
    os.environ.setdefault("SOURCE_DATE_EPOCH", when.strip() or "1767225600")
    given.out.mkdir(parents=True, exist_ok=True)
    tree = source_tree(python, given.out)
    have = {version: headers.headers(version.rstrip("t"), WORK / "headers" / version) for version in given.python}
    if missing := [version for version, place in have.items() if place is None]:
        print(f"wheels: no headers of Python {', '.join(missing)}: install an interpreter of that version", flush=True)
        if given.all:
            sys.exit(1)
    made = []
    for arch in given.arch:
        compiler(arch, python)
        prefix = WORK / arch
        for library in LIBRARIES:
            if not is_built(library, prefix):
                print(f"wheels: building {library.folder} for {arch}", flush=True)
                build(library, unpack(library, WORK / "sources"), arch, prefix / "tools", prefix)
                mark_built(library, prefix)
        for version, place in have.items():
            if place:
                made.append(wheel(python, tree, arch, version, place, given.out))
                print(f"wheels: {made[-1].name}, {made[-1].stat().st_size / 1e3:,.0f} kB", flush=True)
    print(run(python, "-m", "twine", "check", "--strict", *made, *given.out.glob("*.tar.gz")).strip())


def tools() -> Path:
    """A Python that has what wheels are made with, on PATH from here on."""
    place, wanted = WORK / "tools", ROOT / "requirements/wheels.txt"
    stamp = place / "stamp"
    if not stamp.exists() or stamp.read_text() != digest(wanted):
        shutil.rmtree(place, ignore_errors=True)
        run(sys.executable, "-m", "venv", place)
        run(place / "bin/python", "-m", "pip", "install", "--quiet", "-r", wanted)
        stamp.write_text(digest(wanted))
    os.environ["PATH"] = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return place / "bin/python"


def source_tree(python: Path, out: Path) -> Path:
    """The source distribution, unpacked, with the licenses of what is linked in: wheels are built of nothing else."""
    shutil.rmtree(WORK / "sdist", ignore_errors=True)
    run(python, "-m", "build", "--sdist", "--no-isolation", "--outdir", WORK / "sdist", ROOT)
    (archive,) = (WORK / "sdist").glob("*.tar.gz")
    shutil.copy(archive, out)
    with tarfile.open(archive) as tar:
        tar.extractall(WORK / "sdist", filter="data")
    (tree,) = (WORK / "sdist").glob("*/")
    licenses = tree / "licenses"
    licenses.mkdir()
    for library in LIBRARIES:
        with tarfile.open(fetch(library, WORK / "sources")) as tar:
            top = tar.getnames()[0].partition("/")[0]
            for name in library.license_files:
                file = tar.extractfile(f"{top}/{name}")
                assert file
                (licenses / f"{library.name}-{name}").write_bytes(file.read())
    site = next((WORK / "tools/lib").glob("python3*/site-packages"))
    shutil.copy(site / "ziglang/LICENSE", licenses / "zig-LICENSE")
    for name, _ in RUNTIMES:
        shutil.copy(site / f"ziglang/lib/{name}/LICENSE.TXT", licenses / f"{name}-LICENSE.TXT")
    shutil.copy(next(site.glob("pybind11-*.dist-info/licenses/LICENSE")), licenses / "pybind11-LICENSE")
    project = tree / "pyproject.toml"
    changed = re.sub(
        r'license = "Apache-2.0"\nlicense-files = \["LICENSE"\]',
        f'license = "{whole_license()}"\nlicense-files = ["LICENSE", "licenses/*"]',
        project.read_text(),
    )
    assert changed != project.read_text()
    project.write_text(changed)
    return tree


def whole_license() -> str:
    parts = {part for library in LIBRARIES for part in library.license.split(" AND ")}
    return " AND ".join(["Apache-2.0", "Apache-2.0 WITH LLVM-exception", *sorted(parts | {"BSD-3-Clause", "MIT"})])


def compiler(arch: str, python: Path) -> None:
    """cc, c++, ar and ranlib for a machine with that processor and glibc."""
    folder = WORK / arch / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    first = '${PYTHON_HEADERS:+"-I$PYTHON_HEADERS"} $PYTHON_DEFINES'
    for name in ("cc", "c++", "ar", "ranlib"):
        options = f"-target {arch}-linux-gnu.{GLIBC} {first if name == 'c++' else ''}" if name.startswith("c") else ""
        (folder / name).write_text(f'#!/bin/sh\nexec "{python}" -m ziglang {name} {options} "$@"\n')
        (folder / name).chmod(0o755)
    # The codecs' functions must not be mistaken for those of another library in the process.
    (folder / "exports").write_text("{ global: PyInit_*; local: *; };\n")


def is_built(library: Library, prefix: Path) -> bool:
    stamp = prefix / f"{library.name}.built"
    return stamp.exists() and stamp.read_text() == state(library)


def mark_built(library: Library, prefix: Path) -> None:
    (prefix / f"{library.name}.built").write_text(state(library))


def state(library: Library) -> str:
    return repr((library, GLIBC, digest(ROOT / "requirements/wheels.txt")))


def wheel(python: Path, tree: Path, arch: str, version: str, include: Path, out: Path) -> Path:
    """One wheel in `out`. Objects of the core serve all versions of Python; those of the binding do not."""
    number = "cp" + version.rstrip("t").replace(".", "")
    abi = number + "t" * version.endswith("t")
    place = WORK / arch
    for folder in (place / "objects/cpp/binding", place / "lib-of-wheel", place / "raw", tree / "build"):
        shutil.rmtree(folder, ignore_errors=True)
    (place / "setup.cfg").write_text(
        f"[build]\nbuild_base={place / 'base'}\nbuild_lib={place / 'lib-of-wheel'}\nbuild_temp={place / 'objects'}\n"
    )
    cxx = str(place / "tools/c++")
    link = f"{cxx} -shared -s -Wl,--version-script={place / 'tools/exports'} -L{place / 'lib'} -lsharpyuv"
    env = {
        "DIST_EXTRA_CONFIG": str(place / "setup.cfg"),
        "CC": cxx,
        "CXX": cxx,
        "CFLAGS": "-fPIC",
        "CPPFLAGS": f"-I{place / 'include'}",
        "LDSHARED": link,
        "LDCXXSHARED": link,
        "PYTHON_HEADERS": str(include),
        "PYTHON_DEFINES": "-DPy_GIL_DISABLED=1" if version.endswith("t") else "",
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{abi.removeprefix('cp')}-{arch}-linux-gnu.so",
    }
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", place / "raw")
    run(python, "-m", "pip", "wheel", *options, tree, env=env)
    (raw,) = (place / "raw").glob("*.whl")
    run(python, "-m", "wheel", "unpack", "--dest", place / "raw", raw)
    raw.unlink()
    (unpacked,) = (place / "raw").glob("*/")
    (info,) = unpacked.glob("*.dist-info")
    text = (info / "WHEEL").read_text()
    (info / "WHEEL").write_text(re.sub(r"^Tag: .*$", f"Tag: {number}-{abi}-linux_{arch}", text, flags=re.MULTILINE))
    (info / "sboms").mkdir()
    (info / "sboms/extension.cdx.json").write_text(bill(info))
    check_extension(unpacked, arch)
    run(python, "-m", "wheel", "pack", "--dest-dir", place / "raw", unpacked)
    (packed,) = (place / "raw").glob("*.whl")
    platform = f"manylinux_{GLIBC.replace('.', '_')}_{arch}"
    for old in out.glob(f"*-{number}-{abi}-manylinux*_{arch}.whl"):
        old.unlink()
    run(python, "-m", "auditwheel", "repair", "--plat", platform, "--only-plat", "--wheel-dir", out, packed)
    (made,) = out.glob(f"*-{number}-{abi}-{platform}.whl")
    return made


def bill(info: Path) -> str:
    metadata = (info / "METADATA").read_text()
    version = re.search(r"^Version: (.*)$", metadata, re.MULTILINE)
    pinned = dict(re.findall(r"^(\w+)==(\S+)$", (ROOT / "requirements/wheels.txt").read_text(), re.MULTILINE))
    assert version
    components = [
        sbom.Component(
            library.name,
            library.version,
            library.license,
            f"pkg:generic/{library.name}@{library.version}?download_url={library.url}",
            digest(fetch(library, WORK / "sources")),
        )
        for library in LIBRARIES
    ]
    components.append(
        sbom.Component("pybind11", pinned["pybind11"], "BSD-3-Clause", f"pkg:pypi/pybind11@{pinned['pybind11']}")
    )
    zig = pinned["ziglang"]
    for name, under in (*RUNTIMES, ("compiler-rt", "MIT AND Apache-2.0 WITH LLVM-exception")):
        purl = f"pkg:pypi/ziglang@{zig}#lib/{name.replace('-', '_')}"
        components.append(sbom.Component(name, f"of zig {zig}", under, purl))
    return sbom.document("genimage-stream", version[1], whole_license(), components)


def check_extension(unpacked: Path, arch: str) -> None:
    """Nothing but glibc is needed of a system, and every name is found there or in Python."""
    (extension,) = unpacked.rglob("_core*.so")
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", extension)))
    if extra := {name for name in needed if not re.match(r"(libc|libm|libpthread|libdl|librt|ld-linux\S*)\.so", name)}:
        raise CannotBuildError(f"{extension.name} needs {', '.join(sorted(extra))} of the system")
    names = [line.split() for line in run("readelf", "-W", "--dyn-syms", extension).splitlines()]
    loose = [w[7] for w in names if len(w) > 7 and w[6] == "UND" and w[4] == "GLOBAL" and "@" not in w[7]]
    if loose := [name for name in loose if not name.startswith(("Py", "_Py"))]:
        raise CannotBuildError(f"{extension.name} needs what neither Python nor glibc {GLIBC} has: {', '.join(loose)}")
    shown = [w[7] for w in names if len(w) > 7 and w[6] != "UND" and w[6].isdigit() and w[4] == "GLOBAL"]
    if shown != ["PyInit__core"]:
        raise CannotBuildError(f"{extension.name} exports {', '.join(shown)}")


if __name__ == "__main__":
    try:
        main()
    except CannotBuildError as error:
        sys.exit(f"wheels: {error}")
