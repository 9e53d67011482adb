"""The repository as a whole: set-up, locks, build, distributions, version, and what may be committed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

import genimage_stream

ROOT = Path(__file__).parents[1]
# What scripts/setup.sh may call, apart from a package manager.
TOOLS = ("cat", "cp", "dirname", "env", "find", "flock", "grep", "head", "id", "ls", "mktemp", "rm", "sh")
TOOLS += ("sha256sum", "sort", "tail", "uname")


def tracked_files() -> list[str]:
    """What git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return [name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without anything built."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in tracked_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the usual tools and no package manager: a machine where nothing can be installed."""
    folder = tmp_path_factory.mktemp("bin")
    for name in TOOLS:
        if path := shutil.which(name):
            (folder / name).symlink_to(path)
    (folder / "python3").symlink_to(sys.executable)
    # A compiler may itself be a wrapper that looks for the next one on PATH.
    compiler = folder / "c++"
    compiler.write_text(f'#!/bin/sh\nPATH={shlex.quote(os.environ["PATH"])} exec {shutil.which("c++")} "$@"\n')
    compiler.chmod(0o755)
    return folder


def setup_lines(checkout: Path, tools: Path, *options: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines of scripts/setup.sh."""
    result = subprocess.run(
        ["sh", str(checkout / "scripts/setup.sh"), *options],
        env={"PATH": str(tools), "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == ""
    return result.returncode, result.stderr.splitlines()


def test_setup_names_missing_packages_in_one_sentence(checkout: Path, tools: Path) -> None:
    code, lines = setup_lines(checkout, tools, CPPFLAGS="-nostdinc")  # hides every header from the compiler
    assert code == 2
    assert len(lines) == 1
    assert "libjpeg-dev libdeflate-dev libwebp-dev zlib1g-dev" in lines[0]
    assert "apt-get install" in lines[0]


def test_setup_names_a_missing_compiler(checkout: Path, tools: Path) -> None:
    code, lines = setup_lines(checkout, tools, CXX="no-such-compiler", CPPFLAGS="-nostdinc")
    assert (code, len(lines)) == (2, 1)


def test_setup_without_a_new_enough_python(checkout: Path, tools: Path) -> None:
    code, lines = setup_lines(checkout, tools, PYTHON="no-such-python")
    assert (code, len(lines)) == (2, 1)
    assert "Python 3.10 or newer" in lines[0]
    assert "PYTHON=no-such-python" in lines[0]
    assert "omit PYTHON" in lines[0], "python3 would do"


PIP_SAYS = """\
Looking in links: /wheels
Collecting click==8.5.1 (from -r requirements/dev.lock (line 6))
  Downloading click-8.5.1-py3-none-any.whl (102 kB)
Collecting pyarrow==26.0.1 (from -r requirements/dev.lock (line 44))
  Downloading pyarrow-26.0.1-cp311-cp311-manylinux_2_28_x86_64.whl (55.0 MB)
Installing collected packages: pyarrow, click
"""


@pytest.mark.parametrize(("rest", "code"), [("Successfully installed click-8.5.1\n", 0), ("failed\n", 1)])
def test_setup_shows_the_progress_of_pip(rest: str, code: int) -> None:
    script = (ROOT / "scripts/setup.sh").read_text()
    functions = re.findall(r"^say\(\).*?$|^show_progress.*?^\}", script, re.MULTILINE | re.DOTALL)
    assert len(functions) == 2
    program = "\n".join([*functions, "show_progress"])
    done = subprocess.run(
        ["sh", "-c", program], input=PIP_SAYS + rest, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "setup: downloading pyarrow-26.0.1-cp311-cp311-manylinux_2_28_x86_64.whl (55.0 MB)",
        "setup: unpacking",
    ]


def test_setup_rejects_an_unknown_option(checkout: Path, tools: Path) -> None:
    code, lines = setup_lines(checkout, tools, "--everything")
    assert (code, len(lines)) == (2, 1)
    assert "--everything" in lines[0]


def test_setup_leaves_a_folder_that_is_no_environment_alone(checkout: Path, tools: Path) -> None:
    venv = checkout / ".venv"
    venv.mkdir()
    (venv / "precious").touch()
    try:
        code, lines = setup_lines(checkout, tools)
        assert (code, len(lines)) == (2, 1)
        assert str(venv) in lines[0]
        assert (venv / "precious").exists()
    finally:
        shutil.rmtree(venv)


def test_build_names_missing_packages_in_one_sentence(checkout: Path) -> None:
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        cwd=checkout,
        env={**os.environ, "CPPFLAGS": "-nostdinc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "libjpeg-dev libdeflate-dev libwebp-dev zlib1g-dev" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def small(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked source distribution whose core, a minute's work for the compiler, is replaced by two small files."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
    (unpacked,) = folder.glob("*/")
    inside = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}
    needed = {name for name in tracked_files() if name.startswith("cpp/")}
    assert needed
    assert needed | {"requirements/system.txt", "LICENSE", "README.md"} <= inside
    shutil.rmtree(unpacked / "cpp")
    (unpacked / "cpp/deep/er").mkdir(parents=True)
    (unpacked / "cpp/deep/core.cpp").write_text('const char* core() { return\n#include "er/words.any"\n; }\n')
    (unpacked / "cpp/deep/er/words.any").write_text('"the first words"')
    return unpacked


def test_a_wheel_of_the_source_distribution_holds_no_sources(small: Path, tmp_path: Path) -> None:
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", *options, str(small)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"genimage_stream", "shard_tools"}
    assert not [name for name in names if name.endswith(".py") and name not in tracked_files()]
    others = {re.sub(r"_core\.cpython\S+\.so$", "_core.so", name) for name in names if not name.endswith(".py")}
    assert others == {
        name
        for name in tracked_files()
        if name.startswith(("genimage_stream/", "shard_tools/")) and not name.endswith(".py")
    } | {"genimage_stream/decode/_core.so"}
    assert "genimage_stream/data/synsets.txt" in names
    assert not [name for name in names if name.startswith("genimage_stream/data/") and not name.endswith(".txt")]


def test_any_edit_of_the_core_is_compiled_however_old_the_file_looks(small: Path) -> None:
    def built() -> bytes:
        command = [sys.executable, "setup.py", "-q", "build_ext"]
        subprocess.run(command, cwd=small, check=True, capture_output=True)
        (extension,) = (small / "build").glob("lib.*/genimage_stream/decode/_core*.so")
        return extension.read_bytes()

    assert b"the first words" in built()
    words = small / "cpp/deep/er/words.any"
    words.write_text('"other words"')
    os.utime(words, (1e9, 1e9))
    assert b"other words" in built()
    (small / "cpp/deep/core.cpp").write_text('const char* core() { return "no words included"; }\n')
    os.utime(small / "cpp/deep/core.cpp", (1e9, 1e9))
    assert b"no words included" in built()


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file, for this interpreter."""
    versions = {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        requirement, _, marker = line.partition(";")
        if requirement.strip() and not line.startswith("#") and (not marker or Marker(marker).evaluate()):
            package, version = requirement.strip().split("==")
            assert package not in versions, f"{name} pins {package} twice"
            versions[package] = version
    return versions


def test_lock_satisfies_the_package_and_its_development_extra() -> None:
    versions = locked("dev.lock")
    assert versions["torch"] == "2.13.0"
    for text in metadata.requires("genimage-stream") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("dev", "torch")):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in versions, f"{name} is not locked; run make lock"
        assert requirement.specifier.contains(versions[name]), f"{name}=={versions[name]} is not {requirement}"


def test_locks_agree() -> None:
    dev, tests = locked("dev.lock"), locked("tests.lock")
    assert {name: tests[name] for name in dev.keys() & tests.keys()} == {
        name: dev[name] for name in dev.keys() & tests.keys()
    }


def test_every_foreign_header_of_the_core_has_a_package() -> None:
    listed = set(re.findall(r"^build +header +(\S+)", (ROOT / "requirements/system.txt").read_text(), re.MULTILINE))
    included = set()
    for path in (ROOT / "cpp").rglob("*.[ch]pp"):
        included |= set(re.findall(r"^#include <([\w/]+\.h)>", path.read_text(), re.MULTILINE))
    # These come with the C library, the compiler, libjpeg-turbo or webp/demux.h.
    included -= {"Python.h", "cpuid.h", "jerror.h", "pthread.h", "signal.h", "unistd.h", "fcntl.h"}
    included -= {"webp/decode.h", "webp/encode.h"}
    foreign = {name for name in included if not re.match(r"sys/|pybind11/|\w+intrin\.h|arm_neon", name)}
    assert foreign == listed


def test_versions_agree() -> None:
    changelog = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changelog
    assert changelog.group(1) == genimage_stream.__version__
    assert f"\nversion: {genimage_stream.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in phony.group(1).split():
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), target


def test_nothing_of_one_machine_is_committed() -> None:
    places = re.compile(rb"/(?:root|work|Users)/[\w.]|/home/\w")
    for name in tracked_files():
        found = places.search((ROOT / name).read_bytes())
        assert not found, f"{name} names a path of one machine: {found}"


def test_fixtures_are_made_by_code() -> None:
    big = [name for name in tracked_files() if (ROOT / name).stat().st_size > 400_000]
    assert not big, "files this large do not belong in the repository"


def test_import_is_light() -> None:
    code = "import sys, genimage_stream; print(sorted({'torch', 'pyarrow', 'PIL', 'click', 'rich'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_module_is_named_in_the_architecture() -> None:
    """docs/architecture.md has a block for each folder of the packages, and every module begins a line in its own."""
    named: set[str] = set()
    folder = ""
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        if found := re.match(r"    (?:(\w[\w/]*/)|  (\w+\.py(?: \w+\.py)*) )", line):
            folder = found[1] or folder
            named |= {folder + name for name in (found[2] or "").split()}
    packages = ("genimage_stream/", "shard_tools/")
    modules = {name for name in tracked_files() if name.endswith(".py") and name.startswith(packages)}
    modules = {name for name in modules if not name.endswith(("/__init__.py", "/__main__.py"))}
    assert modules - named == set(), "not named in docs/architecture.md"
    assert named - modules == set(), "named in docs/architecture.md, but not there"
