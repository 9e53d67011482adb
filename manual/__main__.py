"""make docs: builds the manual into site/ and checks every link of it.

python -m manual            the whole site
python -m manual --quick    without making the samples again
python -m manual --look DIR     screenshots of the main pages as well, phone and desktop, light and dark
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from manual import environment, links, samples, stage

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / ".manual"
SITE = ROOT / "site"


def main() -> int:
    """Returns the exit code: 1 with dead links or warnings of MkDocs."""
    parser = argparse.ArgumentParser(prog="python -m manual")
    parser.add_argument("--quick", action="store_true", help="keep the samples of the last time")
    parser.add_argument("--look", metavar="DIR", type=Path, help="write screenshots there; needs Chromium")
    options = parser.parse_args()
    ROOM.mkdir(exist_ok=True)
    python = environment.interpreter(ROOM)
    kept = ROOM / "samples"
    if not (options.quick and (kept / "report.html").exists()):
        print("docs: making the samples", file=sys.stderr, flush=True)
        samples.make(kept, ROOM / "data")
    pages = ROOM / "pages"
    stage.stage(pages)
    for path in kept.glob("*.html"):
        shutil.copyfile(path, pages / "samples" / path.name)
    print("docs: building the site", file=sys.stderr, flush=True)
    command = [
        str(python),
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--clean",
        "-f",
        str(ROOT / "manual/mkdocs.yml"),
    ]
    # The theme's makers announce another program of theirs at every start.
    quiet = {**os.environ, "DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "true"}
    if subprocess.run(command, env=quiet, check=False).returncode:
        return 1
    found = links.faults(SITE)
    if options.look:
        from manual.look import look

        found += look(SITE, options.look)
    for fault in found:
        print(f"docs: {fault}", file=sys.stderr)
    if not found:
        count = len(list(SITE.rglob("*.html")))
        print(f"docs: {count} pages in site/, every link leads somewhere; open site/index.html")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
