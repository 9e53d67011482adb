"""The Markdown of docs/, which GitHub shows, in the dialect of Python-Markdown, which the site is made with.

Two things differ. A list that directly follows a paragraph needs an empty line before it, and what belongs to an item
is indented by four spaces, where GitHub goes by the width of the item's mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ITEM = re.compile(r"( *)([*+-]|\d+[.)])( +)(?=\S)")
FENCE = re.compile(r" *(`{3,}|~{3,})")
LINK = re.compile(r"(\]\()([^)\s]+)(?=\))")
CODE = re.compile(r"(`+)(?:(?!\1).)+?\1")


def for_site(text: str) -> str:
    """The same page for Python-Markdown."""
    lines: list[str] = []
    offsets: list[int] = []  # where the content of each open list item begins
    fence, blank = "", True
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            lines.append("")
            blank = True
            continue
        item = None if fence else ITEM.match(line)
        # A line of a paragraph may be indented less than its item; after an empty line, or as an item, it may not.
        if not fence and (blank or item):
            while offsets and indent < offsets[-1]:
                offsets.pop()
        if item and not blank and not offsets and lines and not ITEM.match(lines[-1]):
            lines.append("")
        inside = offsets[-1] if offsets else 0
        lines.append(" " * 4 * len(offsets) + line[min(indent, inside) :])
        if item:
            offsets.append(item.end())
        if found := FENCE.match(line):
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
        blank = False
    return "\n".join(lines) + "\n"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The page with every line changed that is in no fenced block."""
    fence, lines = "", []
    for line in text.splitlines():
        found = FENCE.match(line)
        lines.append(line if fence or found else change(line))
        if found:
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
    return "\n".join(lines) + "\n"


def with_links(text: str, target: Callable[[str], str]) -> str:
    """The page with every link that is no code replaced by what `target` makes of it."""

    def change(line: str) -> str:
        hidden = [found.span() for found in CODE.finditer(line)]

        def one(found: re.Match[str]) -> str:
            inside = any(start < found.start(2) < end for start, end in hidden)
            return found[0] if inside else found[1] + target(found[2])

        return LINK.sub(one, line)

    return outside_code(text, change)
