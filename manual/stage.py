"""Gathers the pages of the site: docs/, the reference, the command lines, examples, results and samples.

Nothing that is generated here is in the repository. A link of docs/ that leaves docs/ is turned to the page that the
site has for its target; one without such a page is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from manual import commands
from manual.markdown import for_site, with_links

ROOT = Path(__file__).resolve().parents[1]
#: Pages that are at the top of the repository, and their names in the site.
TOP = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
TOP |= {"README.md": "index.md"}
LANGUAGES = {".py": "python", ".sh": "bash", ".sbatch": "bash", ".yaml": "yaml", ".ipynb": "json"}


def place(path: PurePosixPath) -> PurePosixPath | None:
    """Where the site has a file of the repository: None where it does not. Both relative."""
    name = str(path)
    if name in TOP:
        return PurePosixPath(TOP[name])
    for folder, there in (("docs", "."), ("manual", "."), ("benchmarks/results", "results")):
        if path.is_relative_to(folder):
            inside = PurePosixPath(there) / path.relative_to(folder)
            return inside if path.suffix else inside / "index.md"
    if path.is_relative_to("examples"):
        return PurePosixPath(f"{name}.md") if path.suffix else path / "index.md"
    return None


def turned(source: PurePosixPath, target: str) -> str:
    """A link of the page `source`, a file of the repository, as the site has it. Raises ValueError where it leads
    out of the site."""
    if re.match(r"[a-z]+:|#|//", target):
        return target
    file, mark, anchor = target.partition("#")
    there = PurePosixPath(os.path.normpath(source.parent / file))
    here, found = place(source), place(there)
    if here is None or found is None:
        raise ValueError(f"{source} links to {target}, which the manual does not have: see manual/stage.py")
    return os.path.relpath(found, here.parent) + mark + anchor


def stage(pages: Path) -> None:
    """Write all pages but the samples into `pages`, which is emptied."""
    shutil.rmtree(pages, ignore_errors=True)
    sources = [
        *(ROOT / "docs").rglob("*"),
        *(ROOT / "benchmarks/results").glob("*"),
        *(ROOT / "manual/assets").glob("*"),
    ]
    sources += [*(ROOT / "manual/reference").glob("*"), *(ROOT / "manual/samples").glob("*")]
    sources += [ROOT / name for name in TOP if name != "README.md"]
    for path in sorted(sources):
        if path.is_file() and path.suffix in (".md", ".svg", ".png", ".css", ".js"):
            _take(PurePosixPath(path.relative_to(ROOT)), pages)
    _examples(pages)
    for folder, title in (("results", "Benchmark results"), ("decisions", "Decisions"), ("examples", "Examples")):
        _index(pages / folder, title)
    for name, text in commands.pages().items():
        _write(pages / "commands" / f"{name}.md", text)


def _take(source: PurePosixPath, pages: Path) -> None:
    there = place(source)
    assert there is not None, source
    path = pages / there
    if source.suffix != ".md":
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, path)
        return
    _write(path, for_site(with_links((ROOT / source).read_text(), lambda target: turned(source, target))))


def _examples(pages: Path) -> None:
    for path in sorted((ROOT / "examples").iterdir()):
        if path.suffix in LANGUAGES:
            if path.suffix == ".ipynb":
                body = _notebook(path)
            else:
                body = f"```{LANGUAGES[path.suffix]}\n{path.read_text()}```\n"
            _write(pages / "examples" / f"{path.name}.md", f"# {path.name}\n\n{body}")


def _notebook(path: Path) -> str:
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else for_site(re.sub("^#", "##", text)))
    return "\n\n".join(parts) + "\n"


def _index(folder: Path, title: str) -> None:
    """A page that lists the others of a folder by their headings."""
    lines = []
    for path in sorted(folder.glob("*.md")):
        heading = re.search(r"^# (.*)$", path.read_text(), re.MULTILINE)
        lines.append(f"* [{heading[1] if heading else path.stem}]({path.name})")
    _write(folder / "index.md", f"# {title}\n\n" + "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
