"""Who may import whom: rooms have an order, modules do not import in circles, and no folder grows too large.

All imports count, also those inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("genimage_stream", "shard_tools", "stand_ins", "benchmarks", "experiments", "demo", "manual")
MOST_FILES = 26  # sources of a folder: more is no room that one looks through
SOURCES = (".py", ".pyi", ".cpp", ".hpp", ".cu", ".css", ".html", ".txt")

#: Rooms and modules from the bottom up, package after package. One may import those below it and itself; those of one
#: line do not know each other, except for the very lowest.
ORDER = {
    "genimage_stream": (
        ("schema", "vocabulary", "arguments", "addresses", "remedies", "resources", "command_line"),
        ("decode", "page"),
        ("storage",),
        ("order",),
        ("transforms",),
        ("recipes",),
        ("dataset",),
        ("backends",),
        ("loading",),
        ("evaluation",),
        ("bench",),
        ("doctor", "cache_commands", "demo", "ray_data"),
        ("cli",),
        ("__init__", "__main__"),
    ),
    "shard_tools": (
        ("errors", "names", "tar", "read_ahead"),
        ("addresses", "inspect", "layout", "faults", "crop_ready", "sample", "finished", "plan", "cards"),
        ("sources", "target", "report"),
        ("placing",),
        ("scan", "shard"),
        ("keys", "naming", "readers", "state", "info"),
        ("terminal",),
        ("work", "engines", "verify"),
        ("growth",),
        ("gather",),
        ("pack",),
        ("packing",),
        ("derived",),
        ("cli",),
        ("__init__", "__main__"),
    ),
    "stand_ins": (("photographs",), ("tree",), ("__init__",)),
    "benchmarks": (
        ("harness", "chart", "resnet", "torchvision_operators"),
        ("process", "model"),
        ("peers",),
        ("environments", "gpu"),
        ("blend2d",),
        ("data", "decode"),
        ("comparison",),
        ("transformed",),
        ("packing", "growth", "adding", "nodes", "crop_ready", "end_to_end", "full", "instructions"),
        ("readme", "recoding", "scaling", "gpu_check"),
        ("transforms",),
        ("__init__",),
    ),
    "experiments": (("gpu_decode",), ("__init__",)),
    "demo": (("compare", "detector"), ("__init__", "__main__")),
    "manual": (
        ("environment", "hooks", "links", "look", "samples"),
        ("markdown",),
        ("commands", "docstrings"),
        ("stage",),
        ("__init__", "__main__"),
    ),
}
LEVELS = {
    f"{package}.{room}": level
    for level, (package, rooms) in enumerate((package, rooms) for package, levels in ORDER.items() for rooms in levels)
    for room in rooms
}


def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package is its `__init__`, the C++ extension its stub."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py*")):
            if path.suffix in (".py", ".pyi"):
                found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return found


MODULES = modules()


def named(dotted: str) -> str | None:
    """The module that an import of this name reaches; None for one that is not ours."""
    for name in (dotted, f"{dotted}.__init__"):
        if name in MODULES:
            return name
    return None


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: write the whole name"
            names = [
                inner if named(inner := f"{node.module}.{alias.name}") else f"{node.module}" for alias in node.names
            ]
        else:
            continue
        yield from filter(None, map(named, names))


@cache
def graph() -> dict[str, list[str]]:
    """Each module, and those of ours that it imports."""
    return {name: sorted(set(imports(path))) for name, path in MODULES.items()}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def upwards() -> Iterator[str]:
    """One sentence for each import of a room that is not below."""
    for module, others in graph().items():
        for other in others:
            mine, theirs = room(module), room(other)
            level, above = LEVELS[mine], LEVELS[theirs]
            if mine != theirs and (above > level or above == level > 0):
                yield f"{module} imports {other}: {theirs} is not below {mine}"


def circles() -> Iterator[str]:
    """One sentence for each group of modules that import each other."""
    seen: set[str] = set()
    for module in graph():
        if module not in seen:
            together = {other for other in reachable(module) if module in reachable(other)}
            seen |= together
            if together:
                yield f"{', '.join(sorted(together))} import each other in a circle"


def reachable(module: str) -> set[str]:
    """The modules that importing this one leads to; itself only through a circle."""
    found: set[str] = set()
    waiting = list(graph()[module])
    while waiting:
        if (other := waiting.pop()) not in found:
            found.add(other)
            waiting += graph()[other]
    return found


def large_folders() -> Iterator[str]:
    """One sentence for each folder of sources or tests that has too many files."""
    tops = (*PACKAGES, "cpp", "scripts", "examples", "tests")
    for folder in sorted({path.parent for top in tops for path in (ROOT / top).rglob("*") if path.is_file()}):
        files = [path for path in folder.iterdir() if path.suffix in SOURCES]
        if len(files) > MOST_FILES:
            yield f"{folder.relative_to(ROOT)} has {len(files)} files, more than {MOST_FILES}: give them rooms"


def past_the_face() -> Iterator[str]:
    """One sentence for each module that imports the extension itself, not what its room makes of it."""
    core = "genimage_stream.decode._core"
    for module, others in graph().items():
        if core in others and room(module) != "genimage_stream.decode":
            yield f"{module} imports {core}: genimage_stream/decode/ is its typed face"


@pytest.mark.parametrize("rule", [upwards, circles, large_folders, past_the_face])
def test_no_import_against_the_order(rule: object) -> None:
    assert list(rule()) == []  # type: ignore[operator]


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(module) for module in MODULES} - set(LEVELS) == set()
