"""The rooms of the C++ core include each other in one direction: no circle, and nothing from a room above."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1] / "cpp"
# From the bottom up; rooms on one floor do not include each other.
FLOOR_OF = {
    "base": 0,
    "rows": 1,
    "jpeg": 1,
    "png": 1,
    "webp": 1,
    "bands": 2,
    "image": 3,
    "transform": 4,
    "neon": 4,  # defines what headers of rooms below declare
    "recode": 5,
    "lossy": 5,
    "batch": 6,
    "binding": 7,
}
MOST_FILES = 26  # in a room
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def includes_of(files: dict[str, str]) -> dict[str, list[str]]:
    return {name: INCLUDE.findall(text) for name, text in files.items()}


def offences(files: dict[str, str]) -> list[str]:
    """One sentence for each include that is missing or goes upwards, and for each circle."""
    found = []
    graph = includes_of(files)
    for name, included in sorted(graph.items()):
        room = name.split("/")[0]
        for other in included:
            above = other.split("/")[0]
            if other not in files:
                found.append(f'cpp/{name} includes "{other}", which is no file below cpp/: name it from there.')
            elif above != room and FLOOR_OF[above] >= FLOOR_OF[room]:
                found.append(f"cpp/{name} includes {other}, and {above}/ is not below {room}/.")
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            found.append(f"These files include each other in a circle: {circle}.")
        elif name not in done:
            for other in graph.get(name, []):
                walk(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


def sources() -> dict[str, str]:
    return {str(p.relative_to(ROOT)): p.read_text() for p in ROOT.rglob("*.?pp")}


def test_includes_go_downwards_and_in_no_circle() -> None:
    files = sources()
    assert {name.split("/")[0] for name in files} <= set(FLOOR_OF), "a room without a place in FLOOR_OF"
    assert not offences(files), "\n".join(offences(files))


def test_offences_are_named() -> None:
    files = {
        "base/a.hpp": '#include "jpeg/b.hpp"\n',
        "jpeg/b.hpp": '#include "base/a.hpp"\n#include "b.hpp"\n',
        "png/c.hpp": '#include "jpeg/b.hpp"\n',
    }
    assert offences(files) == [
        "cpp/base/a.hpp includes jpeg/b.hpp, and jpeg/ is not below base/.",
        'cpp/jpeg/b.hpp includes "b.hpp", which is no file below cpp/: name it from there.',
        "cpp/png/c.hpp includes jpeg/b.hpp, and jpeg/ is not below png/.",
        "These files include each other in a circle: base/a.hpp -> jpeg/b.hpp -> base/a.hpp.",
    ]


def test_no_room_is_crowded_and_every_source_is_noticed_by_the_build() -> None:
    rooms: dict[str, int] = {}
    for path in ROOT.rglob("*"):
        if path.is_file():
            room = path.relative_to(ROOT).parts[0]
            rooms[room] = rooms.get(room, 0) + 1
            # fuzz/Makefile looks for these, one folder deep
            assert path.suffix in {".cpp", ".hpp"}, path
            assert path.parent.parent == ROOT, path
    crowded = {room: count for room, count in rooms.items() if count > MOST_FILES}
    assert not crowded, f"rooms of more than {MOST_FILES} files: {crowded}"
