"""The manual that `make docs` builds: its reference has every public name, its links lead somewhere, its command lines
are those of the parsers, and GitHub's Markdown becomes that of the site. The site itself is built by `make docs`.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from manual import commands, links, stage
from manual.markdown import for_site, with_links

ROOT = Path(__file__).parents[1]
#: Packages whose `__all__` is public.
PUBLIC = ("genimage_stream", "genimage_stream.transforms", "genimage_stream.recipes", "genimage_stream.decode")


def documented() -> dict[str, object]:
    """What each `:::` of the reference names -> the object."""
    found: dict[str, object] = {}
    for path in sorted((ROOT / "manual/reference").glob("*.md")):
        for name in re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE):
            assert name not in found, f"{name} is in the reference twice"
            module, _, attribute = name.rpartition(".")
            found[name] = getattr(import_module(module), attribute)
    return found


def test_reference_has_every_public_name() -> None:
    there = list(documented().values())
    for module in map(import_module, PUBLIC):
        for name in module.__all__:
            found = any(getattr(module, name) is one for one in there)
            assert found, f"{module.__name__}.{name} is not in manual/reference"


@pytest.mark.parametrize("name", documented())
def test_public_names_have_docstrings(name: str) -> None:
    value = documented()[name]
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        for member, inside in vars(value).items():
            if not member.startswith("_") and (inspect.isroutine(inside) or isinstance(inside, property)):
                assert inspect.getdoc(getattr(value, member)), f"{name}.{member}"


def test_pages_have_every_option() -> None:
    for name, group in commands.COMMANDS.items():
        page = commands.pages()[name]
        listed = set(re.findall(r"^## (.*)$", page, re.MULTILINE))
        context = click.Context(group, info_name=name)
        for command in group.list_commands(context):
            found = group.get_command(context, command)
            assert found is not None
            assert any(one.startswith(f"{name} {command}") for one in listed)
            for option in found.params:
                if isinstance(option, click.Option) and not isinstance(found, click.Group):
                    assert option.opts[-1] in page, f"{name} {command} {option.opts}"


def test_navigation_names_pages_that_are_there(tmp_path: Path) -> None:
    stage.stage(tmp_path)
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")}
    text = (ROOT / "manual/mkdocs.yml").read_text()
    named = set(re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") :]))
    assert named <= there
    assert {f"commands/{name}.md" for name in commands.COMMANDS} <= named
    assert {f"reference/{path.name}" for path in (ROOT / "manual/reference").glob("*.md")} <= named


def test_links_of_all_pages_lead_somewhere() -> None:
    def anchors(path: Path) -> set[str]:
        heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    for path in (*(ROOT / "docs").rglob("*.md"), *(ROOT / "manual").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            if "manual" in path.parts and not file.exists():
                assert target.startswith("../commands/") or target.endswith(".html"), f"{path.name}: {target}"
                continue
            assert file.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{path.name}: {target}"


def test_a_link_out_of_the_manual_is_an_error() -> None:
    source = stage.PurePosixPath("docs/page.md")
    assert stage.turned(source, "../examples/train_ddp.py") == "examples/train_ddp.py.md"
    assert stage.turned(source, "../benchmarks/results") == "results/index.md"
    assert stage.turned(source, "other.md#here") == "other.md#here"
    with pytest.raises(ValueError, match=r"setup\.py, which the manual does not have"):
        stage.turned(source, "../setup.py")


def test_markdown_of_github_becomes_that_of_the_site() -> None:
    given = "Text:\n* one\n  more\n\n  ```sh\n  ls *\n  ```\n\n* two\n  1. inner\nlazy\n\nEnd\n"
    wanted = "Text:\n\n* one\n    more\n\n    ```sh\n    ls *\n    ```\n\n* two\n    1. inner\n        lazy\n\nEnd\n"
    assert for_site(given) == wanted
    text = "[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n"
    assert with_links(text, str.upper) == "[a](B.MD) `[c](d.md)`\n```\n[e](f.md)\n```\n"


def test_dead_links_of_a_site_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="#x"></a><a href="#y"></a><a href="b.html#z"></a><a href="c.html"></a>'
        '<a href="https://elsewhere.org"></a><script src="https://cdn.org/a.js"></script>'
    )
    (tmp_path / "b.html").write_text("")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.org/a) }")
    assert links.faults(tmp_path) == [
        "a.html loads https://cdn.org/a.js",
        "a.html links to #y, whose section is not there",
        "a.html links to b.html#z, whose section is not there",
        "a.html links to c.html, which is not there",
        "a.css loads from another server",
    ]
