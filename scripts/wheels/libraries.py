"""The C libraries inside the wheels: where their sources come from, how they are built, and under which license."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import debian


@dataclass(frozen=True)
class Library:
    """A library that is linked into the extension. Its archive is one of those with the given SHA-256."""

    name: str
    version: str
    license: str  # SPDX
    license_files: tuple[str, ...]
    url: str
    sha256: tuple[str, ...]
    suite: str  # of Debian, with `source` among its sources
    source: str
    options: tuple[str, ...]  # for CMake

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}"


WEBP_LEFT_OUT = tuple(
    f"-DWEBP_BUILD_{part}=OFF"
    for part in ("ANIM_UTILS", "GIF2WEBP", "IMG2WEBP", "VWEBP", "WEBPINFO", "LIBWEBPMUX", "WEBPMUX", "EXTRAS")
)

LIBRARIES = (
    Library(
        "libjpeg-turbo",
        "3.1.3",
        "IJG AND BSD-3-Clause AND Zlib",
        ("LICENSE.md", "README.ijg"),
        "https://github.com/libjpeg-turbo/libjpeg-turbo/archive/refs/tags/3.1.3.tar.gz",
        ("3a13a5ba767dc8264bc40b185e41368a80d5d5f945944d1dbaa4b2fb0099f4e5",),
        "forky",
        "libjpeg-turbo",
        ("-DENABLE_SHARED=OFF", "-DWITH_TURBOJPEG=OFF", "-DREQUIRE_SIMD=ON", "-DWITH_TOOLS=OFF", "-DWITH_TESTS=OFF"),
    ),
    Library(
        "libdeflate",
        "1.23",
        "MIT",
        ("COPYING",),
        "https://github.com/ebiggers/libdeflate/archive/refs/tags/v1.23.tar.gz",
        ("1ab18349b9fb0ce8a0ca4116bded725be7dcbfa709e19f6f983d99df1fb8b25f",),
        "trixie",
        "libdeflate",
        # Clang 22 has no target feature evex512 any more; this release asks for it where the name is not defined.
        ("-DLIBDEFLATE_BUILD_SHARED_LIB=OFF", "-DLIBDEFLATE_BUILD_GZIP=OFF", "-DCMAKE_C_FLAGS=-D__EVEX512__"),
    ),
    Library(
        "libwebp",
        "1.6.0",
        "BSD-3-Clause",
        ("COPYING", "PATENTS"),
        "https://storage.googleapis.com/downloads.webmproject.org/releases/webp/libwebp-1.6.0.tar.gz",
        ("e4ab7009bf0629fd11982d4c2aa83964cf244cffba7347ecd39019a9e38c4564",),
        "forky",
        "libwebp",
        ("-DWEBP_BUILD_CWEBP=OFF", "-DWEBP_BUILD_DWEBP=OFF", *WEBP_LEFT_OUT),
    ),
    Library(
        "zlib",
        "1.3.1",
        "Zlib",
        ("LICENSE",),
        "https://github.com/madler/zlib/releases/download/v1.3.1/zlib-1.3.1.tar.gz",
        (
            "9a93b2b7dfdac77ceba5a558a580e74667dd6fede4585b91eefb60f03b72df23",
            "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",  # Debian's, without contrib/
        ),
        "trixie",
        "zlib",
        (),
    ),
)


class CannotBuildError(RuntimeError):
    """Says why, and what to do."""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the command printed; a failure shows the end of it."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-30:])
        raise CannotBuildError(f"{end}\nthis failed: {' '.join(map(str, command))}")
    return done.stdout


def fetch(library: Library, folder: Path) -> Path:
    """The library's archive, from Debian's sources where apt-get has them, else from its makers."""
    path = folder / f"{library.folder}.tar.gz"
    if path.exists() and digest(path) in library.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    tried = []
    for get in (from_debian, from_makers):
        try:
            get(library, path)
        except (CannotBuildError, OSError, subprocess.SubprocessError) as error:
            tried.append(str(error).strip().splitlines()[-1])
            continue
        if digest(path) in library.sha256:
            return path
        tried.append(f"{get.__name__}: an archive of another SHA-256, {digest(path)}")
    path.unlink(missing_ok=True)
    raise CannotBuildError(
        f"the sources of {library.folder} cannot be had ({'; '.join(tried)}): put {library.url} there as {path}"
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def from_debian(library: Library, path: Path) -> None:
    shutil.move(debian.source(library.suite, library.source, path.parent), path)


def from_makers(library: Library, path: Path) -> None:
    with urllib.request.urlopen(library.url, timeout=60) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)


def unpack(library: Library, folder: Path) -> Path:
    """Its sources, unpacked anew."""
    archive, place = fetch(library, folder), folder / library.folder
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as tar:
        top = tar.getnames()[0].partition("/")[0]
        tar.extractall(folder / "unpacked", filter="data")
    (folder / "unpacked" / top).rename(place)
    return place


def build(library: Library, source: Path, arch: str, tools: Path, prefix: Path) -> None:
    """Static, without exported names, into `prefix`. `tools` has cc, c++, ar and ranlib for `arch`."""
    if library.name == "zlib":
        build_zlib(source, tools, prefix)
        return
    work = prefix / "work" / library.name
    options = [
        "-GNinja",
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={arch}",
        f"-DCMAKE_C_COMPILER={tools / 'cc'}",
        f"-DCMAKE_AR={tools / 'ar'}",
        f"-DCMAKE_RANLIB={tools / 'ranlib'}",
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_POSITION_INDEPENDENT_CODE=ON",
        "-DCMAKE_C_VISIBILITY_PRESET=hidden",
        "-DBUILD_SHARED_LIBS=OFF",
        *library.options,
    ]
    run("cmake", "-S", source, "-B", work, *options)
    run("cmake", "--build", work, "--parallel", str(os.cpu_count() or 1))
    run("cmake", "--install", work)


def build_zlib(source: Path, tools: Path, prefix: Path) -> None:
    """By its own configure: its CMake always makes the shared library too, of files that Debian's archive lacks."""
    env = {"CC": str(tools / "cc"), "AR": str(tools / "ar"), "RANLIB": str(tools / "ranlib")}
    run("./configure", "--static", cwd=source, env={**env, "CFLAGS": "-O3 -fPIC -fvisibility=hidden"})
    run("make", "libz.a", cwd=source, env=env)
    for name, folder in (("libz.a", "lib"), ("zlib.h", "include"), ("zconf.h", "include")):
        (prefix / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, prefix / folder / name)
