"""`genimage-stream doctor`: one screen about the installation; its exit code says whether that is broken."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from genimage_stream import doctor
from genimage_stream.cli import app
from genimage_stream.decode import decode


def test_it_says_what_is_here() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "the installation works" in result.output
    assert max(map(len, result.output.splitlines())) <= 120
    for word in ("libjpeg-turbo", "numpy", "CPU", "memory", "free in", "GPU", "torch", "obstore"):
        assert word in result.output


def test_json_has_the_same() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.output)
    assert found["cores"] >= 1
    assert found["faults"] == []
    assert found["libraries"].keys() >= {"libjpeg-turbo", "libdeflate", "libwebp", "numpy", "pyarrow"}
    assert {one["name"] for one in found["packages"]} >= {"torch", "PIL", "obstore", "ray", "nvidia.dali"}


def test_what_is_missing_is_named_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ("there_is_none", ("there-is-none",), "dreams", "genimage-stream[dreams]")
    monkeypatch.setattr(doctor, "OPTIONAL", (*doctor.OPTIONAL[:1], missing))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "pip install 'genimage-stream[dreams]'" in result.output


def test_wrong_pixels_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "decode", lambda data: decode(data) + 1)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "wrong pixels" in result.output
