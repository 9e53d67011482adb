"""What MkDocs calls: completes the navigation by the pages that mkdocs.yml does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """`folder/` in the navigation stands for all of its pages; pages that nothing names come under Internals."""
    pages = Path(config["docs_dir"])
    named: set[str] = set()

    def filled(entry: Any) -> Any:
        if isinstance(entry, list):
            return [filled(one) for one in entry]
        if isinstance(entry, dict):
            return {title: filled(one) for title, one in entry.items()}
        if entry.endswith("/"):
            inside = sorted(path.relative_to(pages).as_posix() for path in (pages / entry).rglob("*.md"))
            inside.sort(key=lambda name: not name.endswith("index.md"))
            named.update(inside)
            return inside
        named.add(entry)
        return entry

    config["nav"] = [filled(entry) for entry in config["nav"]]
    others = sorted({path.relative_to(pages).as_posix() for path in pages.rglob("*.md")} - named)
    for entry in config["nav"]:
        if "Internals" in entry:
            entry["Internals"] += others
    return config
