"""The site in a browser: screenshots of its main pages, and what holds for each of them."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.browser import View
from tests.browser import look as opened

PAGES = ("index", "tutorial", "how-do-i", "packing", "coming-from", "faq", "samples/index", "reference/loader")
PAGES += ("reference/transforms", "commands/shard-tools", "recipes", "results/end_to_end")
SIZES = {"phone": (390, 844), "desktop": (1366, 900)}
#: What scrolls sideways by itself (tables, code) may be wider than the page.
WIDTH = "document.documentElement.scrollWidth"


def look(site: Path, shots: Path) -> list[str]:
    """Write DIR/<page>-<phone or desktop>-<light or dark>.png; a sentence for each page with a fault: an error in the
    console, a request that leaves the site, or a page wider than its window."""
    shots.mkdir(parents=True, exist_ok=True)
    found = []
    with opened(site / "index.html") as view:
        for page in PAGES:
            for scheme in ("light", "dark"):
                view.scheme(scheme)
                for name, (width, height) in SIZES.items():
                    view.resize(width, height)
                    view.open((site / f"{page}.html").as_uri())
                    shot = view.call("Page.captureScreenshot", format="png")["data"]
                    target = shots / f"{page.replace('/', '-')}-{name}-{scheme}.png"
                    target.write_bytes(base64.b64decode(shot))
                    if view.evaluate(WIDTH) > width:
                        found.append(f"{page} is wider than a {name}")
        found += complaints(view)
    return found


def complaints(view: View) -> list[str]:
    """What the browser complained about so far, and every address outside of the site that it asked for."""
    outside = {url for url in view.requests if not url.startswith(("file:", "data:", "blob:", "about:"))}
    return [*view.complaints, *(f"a page asks for {url}" for url in sorted(outside))]
