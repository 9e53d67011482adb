"""Loads the compiled C++ core; where it is missing or cannot be loaded, one sentence says why and what to do."""

from __future__ import annotations

import platform
import re
import sys
from importlib import import_module
from pathlib import Path

NAME = "genimage_stream.decode._core"
#: Shared libraries of the core: the start of the name, and the package of Debian and Ubuntu that has it.
_LIBRARIES = {
    "libjpeg": "libjpeg62-turbo (on Ubuntu libjpeg-turbo8)",
    "libdeflate": "libdeflate0",
    "libwebp": "libwebp7",
    "libwebpdemux": "libwebpdemux2",
    "libz": "zlib1g",
    "libstdc++": "libstdc++6",
    "libgcc": "libgcc-s1",
}


def load() -> None:
    """Import the core, so that later imports find it. Raises ImportError in one sentence."""
    try:
        import_module(NAME)
    except ModuleNotFoundError as error:
        if error.name != NAME:
            raise
        raise ImportError(_missing(Path(__file__).parent), name=NAME) from None
    except ImportError as error:
        raise ImportError(_not_loaded(str(error)), name=NAME) from None


def _built_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("_core*.so"))


def _missing(folder: Path) -> str:
    sources = folder.parents[1]
    version = "{}.{}".format(*sys.version_info[:2])
    if built := _built_in(folder):
        return (
            f"the compiled part of genimage-stream in {folder} is {built[0].name}, for another Python than this one "
            f"({version}): use that Python, or install the package for this one"
        )
    for place in sys.path:
        installed = Path(place or ".").resolve()
        if installed != sources and _built_in(installed / "genimage_stream" / "decode"):
            return (
                f"Python found the sources in {sources}, which are not built, before the genimage-stream installed in "
                f"{installed}: start Python in another folder, or build the sources with `make setup`"
            )
    return (
        f"genimage-stream in {sources} has no compiled part: build it with `make setup` and use .venv/bin/python, or "
        "`pip install .` there and start Python in another folder"
    )


def _not_loaded(said: str) -> str:
    if found := re.match(r"((lib[^.\d]+)\S*): cannot open shared object file", said):
        library, start = found.groups()
        package = next((name for key, name in _LIBRARIES.items() if start == key), None)
        remedy = f"apt-get install {package}" if package else "the package that has it"
        return (
            f"genimage-stream needs the shared library {library}, which is not on this machine: install it (Debian, "
            f"Ubuntu: {remedy})"
        )
    if found := re.search(r"version `GLIBC_([\d.]+)' not found", said):
        here = platform.libc_ver()[1] or "another C library"
        return (
            f"the compiled part of genimage-stream needs glibc {found[1]} or newer, and this system has {here}: build "
            "it here (`pip install --no-binary genimage-stream genimage-stream`, or `make setup` in a checkout) or use "
            "a newer system"
        )
    return (
        f"the compiled part of genimage-stream cannot be loaded ({said}): build it on this machine, with `make setup` "
        "in a checkout or `pip install --force-reinstall --no-deps .`"
    )
