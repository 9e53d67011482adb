"""Builds the C++ extension; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext, naive_recompile
from setuptools import setup

HEADERS = sorted([*glob("cpp/*/*.hpp"), *glob("cpp/*/*.inc")])
SOURCES = sorted(glob("cpp/*/*.cpp"))
# Some systems' libjpeg is not libjpeg-turbo, whose partial decoding the core relies on.
IS_TURBO = "#ifndef LIBJPEG_TURBO_VERSION\n#error not libjpeg-turbo\n#endif\n"


def recompile(obj: str, src: str) -> bool:
    """A source is compiled again when it or any header is newer than its object."""
    return naive_recompile(obj, src) or any(naive_recompile(obj, header) for header in HEADERS)


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
        compiler = getattr(self.compiler, "compiler_so_cxx", None) or self.compiler.compiler_so
        if missing := missing_packages(compiler, self.compiler.include_dirs):
            packages = " ".join(missing)
            sys.exit(
                f"genimage-stream needs {packages} to be built: install what is missing (Debian, Ubuntu: apt-get "
                f"install {packages}; elsewhere the development files of libjpeg-turbo, libdeflate and zlib and a "
                "C++17 compiler) and try again"
            )
        super().build_extensions()


# setuptools passes no list of objects to be reused, so the freshness check above does the work of a makefile.
ParallelCompile("GENIMAGE_STREAM_BUILD_JOBS", default=os.cpu_count() or 1, needs_recompile=recompile).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "genimage_stream.decode._core",
            SOURCES,
            depends=HEADERS,
            include_dirs=["cpp"],
            libraries=["jpeg", "deflate", "z"],
            cxx_std=17,
            extra_compile_args=["-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-g0", "-ffp-contract=off"],
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
