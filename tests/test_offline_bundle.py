"""The bundle for machines without a network: cut into pieces, installed from them, and its errors.

What pip fetches and the compiler builds are stood in for by a few files; nothing here needs a network.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
LARGEST = 10_000


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    """offline_bundle, and offline_install that it imports."""
    found = {}
    for name in ("offline_install", "offline_bundle"):
        spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
        assert spec
        assert spec.loader
        found[name] = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(found[name])
    for name in found:
        del sys.modules[name]
    return found


@pytest.fixture
def bundle(scripts: dict[str, ModuleType], tmp_path: Path) -> Path:
    """A package nvidia.dali of three lines and 25 kB that do not compress, and a checkout of one module."""
    make = scripts["offline_bundle"]
    site, checkout, folder = tmp_path / "site", tmp_path / "checkout", tmp_path / "bundle"
    files = {"nvidia/__init__.py": "", "nvidia/dali/fn.py": "", "webdataset.py": "", "genimage_stream.libs/lib.so": "x"}
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / "kernels").write_bytes(random.Random(1).randbytes(25_000))
    (checkout / "genimage_stream/decode").mkdir(parents=True)
    for package in ("genimage_stream", "genimage_stream/decode"):
        (checkout / package / "__init__.py").write_text("")
    folder.mkdir()
    archives = {
        "packages": make.pack({"site": site}, folder, "packages", LARGEST, make.QUICK),
        "checkout": make.pack({"genimage-stream": checkout}, folder, "checkout", LARGEST, make.QUICK),
    }
    make.describe(folder, archives, glibc="2.17", commit="0123456789", packages=[], data=[])
    return folder


def install(bundle: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(bundle / "install.py"), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(bundle: Path, target: Path) -> str:
    """The one sentence that is said when nothing can be installed, and nothing is."""
    there = target.exists()
    done = install(bundle, target)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert target.exists() == there
    return done.stderr


def rewrite(bundle: Path, **fields: Any) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_pieces_are_joined_and_the_next_lines_said(bundle: Path, tmp_path: Path) -> None:
    pieces = sorted(path.name for path in bundle.glob("packages.*"))
    assert pieces == ["packages.tar.xz.000", "packages.tar.xz.001", "packages.tar.xz.002"]
    assert all(path.stat().st_size <= LARGEST for path in bundle.glob("*.tar.xz.*"))
    target = tmp_path / "a new folder"
    done = install(bundle, target)
    for tree, inside in (("site", "site"), ("checkout", "genimage-stream")):
        for path in (tmp_path / tree).rglob("*"):
            copy = target / inside / path.relative_to(tmp_path / tree)
            assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()
    assert "cannot be imported" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"export PYTHONPATH='{target}/site:{target}/genimage-stream'")
    assert lines[1] == f"cd '{target}/genimage-stream'"
    assert lines[2] == f"{shlex.quote(sys.executable)} -m benchmarks.gpu_check --no-build"
    assert target.stat().st_mode == (tmp_path / "site").stat().st_mode, "for the same users as any new folder"
    assert not list(tmp_path.glob("a new folder?*"))
    shell = "\n".join([*lines[:2], f'"{sys.executable}" -c "import nvidia.dali.fn as m; print(m.__file__)"'])
    run = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"{target}/site/nvidia/dali/fn.py"


def test_datasets_come_along(scripts: dict[str, ModuleType], bundle: Path, tmp_path: Path) -> None:
    make = scripts["offline_bundle"]
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/index.parquet").write_text("rows")
    archives = json.loads((bundle / "bundle.json").read_text())["archives"]
    archives["data"] = make.pack({"data/plain": tmp_path / "packed"}, bundle, "data", LARGEST, make.FAST)
    rewrite(bundle, archives=archives, data=["plain"])
    done = install(bundle, tmp_path / "target")
    assert done.stdout.splitlines()[2].endswith(f"--no-build --plain {tmp_path}/target/data/plain")
    assert (tmp_path / "target/data/plain/index.parquet").read_text() == "rows"


def test_all_pieces_to_copy_are_named_at_once(bundle: Path, tmp_path: Path) -> None:
    (bundle / "packages.tar.xz.001").unlink()
    (bundle / "checkout.tar.xz.000").unlink()
    cut = bundle / "packages.tar.xz.002"
    cut.write_bytes(cut.read_bytes()[:100])
    other = bundle / "packages.tar.xz.000"
    other.write_bytes(bytes(LARGEST))
    said = refused(bundle, tmp_path / "target")
    assert "missing: packages.tar.xz.001, checkout.tar.xz.000" in said
    assert f"packages.tar.xz.000 ({LARGEST:,} of {LARGEST:,} bytes), packages.tar.xz.002 (100 of " in said
    assert f"copy these from the bundle to {bundle}" in said


def test_a_piece_can_come_later(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "packages.tar.xz.001", tmp_path / "later")
    refused(bundle, tmp_path / "target")
    shutil.move(tmp_path / "later", bundle / "packages.tar.xz.001")
    install(bundle, tmp_path / "target")
    assert (tmp_path / "target/site/kernels").stat().st_size == 25_000


def test_contents_that_are_missing_or_damaged(bundle: Path, tmp_path: Path) -> None:
    (bundle / "bundle.json").write_text("{")
    assert "bundle.json is damaged: copy it again" in refused(bundle, tmp_path / "target")
    (bundle / "bundle.json").unlink()
    assert "bundle.json is not there: copy it" in refused(bundle, tmp_path / "target")


def test_another_python(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, python="3.99", suffix=".cpython-399-x86_64-linux-gnu.so")
    said = refused(bundle, tmp_path / "target")
    assert f"is for Python 3.99 (.cpython-399-x86_64-linux-gnu.so), and {sys.executable} is Python" in said
    assert "run install.py by a Python 3.99, or make a bundle" in said
    assert platform.python_version() in said


def test_another_machine(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, machine="pdp11", suffix=".cpython-399-pdp11-linux-gnu.so")
    said = refused(bundle, tmp_path / "target")
    assert "is for pdp11, " in said
    assert said.endswith(f"and this machine is {platform.machine()}\n")


def test_bundles_are_made_on_one_kind_of_machine(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = scripts["offline_bundle"]
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(make.CannotBundleError, match="this machine is aarch64"):
        make.make(make.parse([str(tmp_path / "new")]), tmp_path)
    assert not (tmp_path / "new").exists()


def test_an_older_system(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, glibc="9.9")
    assert "needs glibc 9.9 or newer, and this machine has" in refused(bundle, tmp_path / "target")


def test_a_folder_with_something_in_it_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    assert "is there already: name a new folder" in refused(bundle, target)
    assert os.listdir(target) == ["precious"]


def test_a_disk_that_is_too_small(bundle: Path, tmp_path: Path) -> None:
    archives = json.loads((bundle / "bundle.json").read_text())["archives"]
    archives["packages"]["unpacked"] = 10**18
    rewrite(bundle, archives=archives)
    assert f"are needed in {tmp_path}, and" in refused(bundle, tmp_path / "target")


def test_what_fails_is_removed_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    others = tmp_path / "target.unfinished"
    others.mkdir()
    (others / "precious").touch()
    command = [sys.executable, str(bundle / "install.py"), str(tmp_path / "target")]
    limited = f"ulimit -f 20 && exec {shlex.join(command)}"  # 20 blocks: less than the kernels have
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("install: File too large: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.glob("target*")] == ["target.unfinished"]
    assert (others / "precious").exists()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device: "),
        (MemoryError(), "there is too little memory: "),
    ],
)
@pytest.mark.parametrize(("name", "what"), [("offline_bundle", "make"), ("offline_install", "unpack")])
def test_too_little_disk_or_memory_is_a_sentence(
    scripts: dict[str, ModuleType],
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    sentence: str,
    name: str,
    what: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(scripts[name], what, fail)
    monkeypatch.setattr(scripts[name], "__file__", str(bundle / "install.py"))
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "new")])
    assert scripts[name].main() == 2
    said = capsys.readouterr().err
    assert f": {sentence}" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("data", [[], ["plain"]])
def test_what_the_machine_has_to_have(
    scripts: dict[str, ModuleType], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: list[str]
) -> None:
    found = scripts["offline_install"]
    install(bundle, tmp_path / "target")
    monkeypatch.setattr(found, "FROM_THE_MACHINE", ())
    for name in ("PILLOW", "FOR_STAND_INS"):
        monkeypatch.setattr(found, name, {f"no_{module}": it for module, it in getattr(found, name).items()})
    said = list(found.what_is_missing(tmp_path / "target", {"data": data}))
    lacking = [sentence.partition(" ")[0] for sentence in said if "make the bundle with" in sentence]
    assert lacking == ["pillow", *([] if data else ["scikit-image", "scikit-learn"])]
    assert "webdataset + Pillow" in said[0]


def test_what_does_not_work_is_said_when_it_is_installed(
    scripts: dict[str, ModuleType], bundle: Path, tmp_path: Path
) -> None:
    make = scripts["offline_bundle"]
    (tmp_path / "site/nvidia/dali/fn.py").write_text("raise ImportError('libcuda.so.1: no such file')")
    archives = json.loads((bundle / "bundle.json").read_text())["archives"]
    archives["packages"] = make.pack({"site": tmp_path / "site"}, bundle, "packages", LARGEST, make.QUICK)
    rewrite(bundle, archives=archives)
    done = install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "nvidia.dali.fn cannot be imported: ImportError: libcuda.so.1: no such file" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_packages_are_kept_while_they_are_the_same(scripts: dict[str, ModuleType], bundle: Path) -> None:
    make = scripts["offline_bundle"]
    contents = json.loads((bundle / "bundle.json").read_text())
    contents["archives"]["packages"]["of"] = ["these"]
    make.keep(bundle, "packages", contents["archives"]["packages"])
    (bundle / "bundle.json").unlink()  # as when the rest was interrupted
    assert make.kept(bundle, "packages", ["these"], LARGEST) == contents["archives"]["packages"]
    assert make.kept(bundle, "packages", ["others"], LARGEST) is None
    assert make.kept(bundle, "nothing", ["these"], LARGEST) is None
    for other in ("[]", "3", "{}", '{"pieces": 3}', '{"pieces": [3]}', '{"pieces": [], "of": ["these"], "largest": 1}'):
        (bundle / "packages.json").write_text(other)
        assert make.kept(bundle, "packages", ["these"], LARGEST) is None, other
    make.keep(bundle, "packages", contents["archives"]["packages"])
    (bundle / "packages.tar.xz.000").unlink()
    assert make.kept(bundle, "packages", ["these"], LARGEST) is None
    make.describe(bundle, {"checkout": contents["archives"]["checkout"]}, glibc="2.17")
    assert [path.name for path in bundle.glob("*.tar.xz.*")] == ["checkout.tar.xz.000"], "pieces of an earlier bundle"


@pytest.mark.parametrize("largest", [4_000, 15_000])
def test_packages_that_are_kept_can_be_cut_anew(
    scripts: dict[str, ModuleType], bundle: Path, tmp_path: Path, largest: int
) -> None:
    make = scripts["offline_bundle"]
    archives = json.loads((bundle / "bundle.json").read_text())["archives"]
    archives["packages"]["of"] = ["these"]
    make.keep(bundle, "packages", archives["packages"])
    archives["packages"] = make.kept(bundle, "packages", ["these"], largest)
    assert make.kept(bundle, "packages", ["these"], largest) == archives["packages"]
    make.describe(bundle, archives, glibc="2.17", data=[])
    assert max(path.stat().st_size for path in bundle.glob("packages.*")) == largest
    install(bundle, tmp_path / "target")
    assert (tmp_path / "target/site/kernels").read_bytes() == (tmp_path / "site/kernels").read_bytes()


def test_the_same_files_make_the_same_pieces(scripts: dict[str, ModuleType], bundle: Path, tmp_path: Path) -> None:
    make = scripts["offline_bundle"]
    os.utime(tmp_path / "site/kernels", (1, 1))
    (tmp_path / "again").mkdir()
    again = make.pack({"site": tmp_path / "site"}, tmp_path / "again", "packages", LARGEST, make.QUICK)
    assert again == json.loads((bundle / "bundle.json").read_text())["archives"]["packages"]


def test_only_wheels_for_the_oldest_system_are_taken(scripts: dict[str, ModuleType]) -> None:
    options = scripts["offline_bundle"].tags("2.28")
    assert "manylinux_2_28_x86_64" in options
    assert "manylinux_2_17_x86_64" in options
    assert not any("_2_29_" in word or "_2_35_" in word for word in options)


def test_dali_is_that_of_the_tests(scripts: dict[str, ModuleType]) -> None:
    make = scripts["offline_bundle"]
    lock = (SCRIPTS.parent / "requirements/tests.lock").read_text()
    wanted = make.requirements("13", ["rich"])
    version = wanted[0].removeprefix("nvidia-dali-cuda130==")
    assert f"nvidia-dali-cuda120=={version}\n" in lock
    assert wanted[1].startswith("webdataset==")
    assert wanted[2:] == ["rich"]


@pytest.mark.parametrize("words", [["b", "--piece-mb", "0.1"], ["b", "--crop-ready", "x"], [], ["b", "--cuda", "11"]])
def test_options_that_make_no_sense(scripts: dict[str, ModuleType], words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        scripts["offline_bundle"].parse(words)
    assert end.value.code == 2


def test_paths_that_will_not_do_are_said_before_the_work(
    scripts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, other, bundle = tmp_path / "packed", tmp_path / "other", tmp_path / "bundle"
    packed.mkdir()
    (packed / "dataset.json").touch()
    other.mkdir()

    def said(*words: Path | str) -> str:
        with pytest.raises(SystemExit) as end:
            scripts["offline_bundle"].parse([str(word) for word in words])
        assert end.value.code == 2
        return capsys.readouterr().err

    assert f"--plain={other}: no dataset.json is in it" in said(bundle, "--plain", other)
    assert f"--crop-ready={other}: no dataset" in said(bundle, "--plain", packed, "--crop-ready", other)
    assert f"{packed / 'dataset.json'} is not a folder" in said(packed / "dataset.json")
    given = scripts["offline_bundle"].parse([str(bundle), "--plain", str(packed), "--crop-ready", str(packed)])
    assert (given.plain, given.crop_ready) == (packed, packed)
