"""docs/tutorial.md from its beginning to its end, as a reader types it; what it shows as output is what comes out."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.pages import ROOT, blocks, make_commands, run

PAGE = blocks((ROOT / "docs/tutorial.md").read_text())


def typed(session: dict[str, Any], text: str) -> str:
    """Run Python in a session that goes on; returns what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(text, "<tutorial>", "exec"), session)
    return said.getvalue()


def test_tutorial_from_beginning_to_end(tmp_path: Path, warm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_commands(tmp_path / "bin", warm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them take turns with those of other tests
    session: dict[str, Any] = {"__name__": "__main__"}
    output = ""
    try:
        for block in PAGE:
            if block.title:
                (tmp_path / block.title).write_text(block.text)
            elif block.language == "python":
                output = typed(session, block.text)
            elif block.language == "sh":
                output = run(tmp_path, block.text)
            else:
                assert block.language == "output"
                missing = [line for line in block.text.splitlines() if line not in output.splitlines()]
                assert not missing, f"line {block.line}: not in the output\n{output}"
    finally:
        sys.modules.pop("detector", None)
        torch.set_num_threads(threads)
    assert (tmp_path / "report.html").exists()
    assert not any(parameter.isnan().any() for parameter in session["model"].parameters())
    assert torch.load(tmp_path / "weights.pt", weights_only=True).keys() == session["model"].state_dict().keys()
    assert {row["degradation"] for row in session["table"].rows} == {"none", "jpeg:65"}
