"""Builds the C++ extension; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os
import sys
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext, naive_recompile
from setuptools import setup

ROOM = "genimage_stream/decode"
HEADERS = sorted(glob(f"{ROOM}/core/**/*.hpp", recursive=True))
SOURCES = [f"{ROOM}/binding.cpp", *sorted(glob(f"{ROOM}/core/**/*.cpp", recursive=True))]


def recompile(obj: str, src: str) -> bool:
    """A source is compiled again when it or any header is newer than its object."""
    return naive_recompile(obj, src) or any(naive_recompile(obj, header) for header in HEADERS)


# setuptools passes no list of objects to be reused, so the freshness check above does the work of a makefile.
ParallelCompile("GENIMAGE_STREAM_BUILD_JOBS", default=os.cpu_count() or 1, needs_recompile=recompile).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "genimage_stream.decode._core",
            SOURCES,
            depends=HEADERS,
            include_dirs=[f"{ROOM}/core"],
            libraries=["jpeg", "deflate", "png", "z"],
            cxx_std=17,
            extra_compile_args=["-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-g0"],
        )
    ],
    cmdclass={"build_ext": build_ext},
)
