"""Dead links of a finished site, and whatever in it would ask another server for something."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"src", "srcset", "data", "poster"}  # attributes whose address a browser fetches by itself
FETCHED = re.compile(rb"""(?:url\(\s*["']?|@import\s+["']|\bimport\(["']|importScripts\(["'])(https?:)?//""")
#: The theme's program names a few addresses of its makers' features that this site does not use.
UNUSED = (b"https://unpkg.com/mermaid", b"https://api.github.com", b"https://gitlab.com")


class Page(HTMLParser):
    """The ids and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            elif name == "href" and tag in ("a", "area"):
                self.links.append(value)
            elif name in LOADS or (name == "href" and tag == "link" and ("rel", "canonical") not in attrs):
                self.links.append(value)
                self.fetched.append(value)


def faults(site: Path) -> list[str]:
    """A sentence for each link of the site that leads nowhere, and for each that leaves it without being clicked."""
    found = []
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name} loads {address}" for address in page.fetched if urlsplit(address).netloc]
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            # 404.html is shown at any address, so its links begin at the top.
            start = site if parts.path.startswith("/") else path.parent
            target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                found.append(f"{name} links to {address}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{name} links to {address}, whose section is not there")
    for path in sorted(site.rglob("*.css")):
        if FETCHED.search(path.read_bytes()):
            found.append(f"{path.relative_to(site)} loads from another server")
    return found
