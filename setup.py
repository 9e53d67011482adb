"""Builds the C++ extension; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

FILES = sorted(path for path in Path("cpp").rglob("*") if path.is_file())
SOURCES = [str(path) for path in FILES if path.suffix == ".cpp"]
# Some systems' libjpeg is not libjpeg-turbo, whose partial decoding the core relies on.
IS_TURBO = "#ifndef LIBJPEG_TURBO_VERSION\n#error not libjpeg-turbo\n#endif\n"


def shared_digest() -> bytes:
    """Of what every object depends on: all files of cpp/ that may be included, and how they are compiled."""
    flags = [os.environ.get(name) for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS")]
    shared = hashlib.sha256(repr(flags).encode() + Path(__file__).read_bytes())
    for path in FILES:
        if path.suffix != ".cpp":
            shared.update(str(path).encode() + hashlib.sha256(path.read_bytes()).digest())
    return shared.digest()


SHARED_DIGEST = shared_digest()


def recompile(obj: str, src: str) -> bool:
    """A source is compiled again when it, or anything it may include, is not what its object was made of. Contents are
    compared, not times: `git mv`, `cp -p` and archives keep old times."""
    current, stamp = hashlib.sha256(SHARED_DIGEST + Path(src).read_bytes()).hexdigest(), Path(obj + ".digest")
    if Path(obj).exists() and stamp.exists() and stamp.read_text() == current:
        return False
    Path(obj).unlink(missing_ok=True)  # a compilation that fails leaves none
    stamp.write_text(current)
    return True


def missing_packages(compiler: list[str], include_dirs: list[str]) -> list[str]:
    """The Debian packages of what requirements/system.txt asks for to build and the machine lacks."""
    if shutil.which(compiler[0]) is None:
        return ["g++"]
    missing = []
    for line in Path(__file__).with_name("requirements").joinpath("system.txt").read_text().splitlines():
        stage, kind, name, package = [*line.split(), "", "", "", ""][:4]
        if (stage, kind) == ("build", "header"):
            source = f"#include <stdio.h>\n#include <{name}>\n" + (IS_TURBO if name == "jpeglib.h" else "")
            flags = [*(f"-I{folder}" for folder in include_dirs), *shlex.split(os.environ.get("CPPFLAGS", ""))]
            command = [compiler[0], *flags, "-E", "-x", "c++", "-"]
            if subprocess.run(command, input=source.encode(), capture_output=True, check=False).returncode:
                missing.append(package)
    return missing


class BuildExtension(build_ext):
    """Says in one sentence what is missing before a compiler says it in a hundred."""

    def build_extensions(self) -> None:
        if sys.byteorder != "little" or sys.maxsize < 1 << 32 or not sys.platform.startswith("linux"):
            kind = f"{sys.platform}, {sys.maxsize.bit_length() + 1} bits, {sys.byteorder}-endian"
            sys.exit(
                f"genimage-stream is for 64-bit little-endian Linux (x86-64, AArch64), and this Python is for {kind}: "
                "use another machine; the shards themselves are plain tar files, which webdataset reads anywhere"
            )
        compiler = getattr(self.compiler, "compiler_so_cxx", None) or self.compiler.compiler_so
        if missing := missing_packages(compiler, self.compiler.include_dirs):
            packages = " ".join(missing)
            sys.exit(
                f"genimage-stream needs {packages} to be built: install what is missing (Debian, Ubuntu: apt-get "
                f"install {packages}; elsewhere the development files of libjpeg-turbo, libdeflate, libwebp and zlib "
                "and a C++17 compiler) and try again"
            )
        self.force = True  # links again; `recompile` decides which objects are still good
        super().build_extensions()


ParallelCompile("GENIMAGE_STREAM_BUILD_JOBS", default=os.cpu_count() or 1, needs_recompile=recompile).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "genimage_stream.decode._core",
            SOURCES,
            include_dirs=["cpp"],
            libraries=["jpeg", "deflate", "webp", "webpdemux", "z"],
            cxx_std=17,
            extra_compile_args=["-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-g0", "-ffp-contract=off"],
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
