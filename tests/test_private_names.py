"""Tests go by behaviour: none reads, replaces or imports a private name of the packages.

A private name has one leading underscore. `_core`, the C++ extension, is imported by tests of the core alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("genimage_stream", "shard_tools", "benchmarks", "experiments", "demo", "scripts", "examples")
OF_THE_CORE = (
    "attacks/test_decoding_memory.py",
    "genimage_stream/decode",
    "genimage_stream/transforms",
    "fixtures",
    Path(__file__).name,
)
CORE = "_core"


def private(name: str) -> bool:
    """`_repr_png_` and the like are what notebooks call, so as public as `__repr__`."""
    notebooks = name.startswith("_repr_") and name.endswith("_")
    return name.startswith("_") and not name.startswith("__") and len(name) > 1 and not notebooks


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a file defines: functions, classes, variables, attributes, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what a test reads of others, imports, or names to setattr; its own `self._x` are its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, name) for name in (node.module or "").split("."))
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def offences(tests: dict[str, str], sources: dict[str, str]) -> list[str]:
    """One sentence for each use. A name that the test file defines itself is its own."""
    ours = {name for text in sources.values() for name in defined(ast.parse(text)) if private(name)} | {CORE}
    found = []
    for path, text in tests.items():
        tree = ast.parse(text)
        not_its_own = ours - set(defined(tree)) - ({CORE} if path.startswith(OF_THE_CORE) else set())
        found += [
            f"tests/{path}:{line} uses the private name {name}: test what can be seen, or make a seam"
            for line, name in used(tree)
            if name in not_its_own
        ]
    return found


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


def test_no_test_goes_by_private_names() -> None:
    sources = {f"{package}/{name}": text for package in PACKAGES for name, text in texts(ROOT / package).items()}
    assert offences(texts(ROOT / "tests"), sources) == []


def test_offences_are_named() -> None:
    sources = {"a.py": "class A:\n    def _b(self): self._c = 1\n_D: int = 2\n"}
    said = offences({"t.py": "import a\nfrom a import _D\nA()._b()\nsetattr(A, '_c', 3)\nos._exit(1)\n"}, sources)
    assert [one.split(":")[1].split()[0] + one.split("name ")[1][:2] for one in said] == ["2_D", "3_b", "4_c"]
    assert offences({"t.py": "class T:\n    def f(self): return self._c\n"}, sources) == []
