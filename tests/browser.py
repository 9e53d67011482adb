"""A headless Chromium for the tests of pages, spoken to through its debugging pipe; without one they skip.

`look(page)` opens a file without network and gives a `View`: set its width and colours, evaluate expressions in it.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
PATIENCE = 120.0  # seconds for one answer; a busy machine may take its time


class View:
    """One page in the browser. `complaints`: console errors and exceptions; `requests`: every address asked for."""

    def __init__(self, write: int, read: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._write, self._read = write, read
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        """The next message; events are noted on the way."""
        while b"\0" not in self._buffer:
            with selectors.DefaultSelector() as selector:
                selector.register(self._read, selectors.EVENT_READ)
                assert selector.select(PATIENCE), f"the browser said nothing for {PATIENCE:.0f} s"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser ended"
            self._buffer += piece
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def open(self, address: str) -> None:
        self._loaded = False
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + PATIENCE
        while not self._loaded:
            assert time.monotonic() < deadline, f"{address} did not load"
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 800) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def accessible(self, role: str) -> list[str]:
        """The names, as a screen reader says them, of everything with that role."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        found = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") == role]
        return [str(node.get("name", {}).get("value", "")) for node in found]


@contextmanager
def look(page: Path) -> Iterator[View]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium to look at pages with (apt-get install chromium)")
    there, write = os.pipe()
    read, back = os.pipe()

    def connect() -> None:  # the browser reads from descriptor 3 and writes to 4
        inherited = os.dup(there), os.dup(back)
        os.dup2(inherited[0], 3)
        os.dup2(inherited[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=connect,  # noqa: PLW1509 (no other way to hand over descriptors 3 and 4)
        )
        try:
            os.close(there)
            os.close(back)
            view = View(write, read)
            view.open(page.as_uri())
            yield view
        finally:
            os.close(write)
            os.close(read)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def assert_good_page(view: View) -> None:
    """What holds for every page of the project."""
    assert view.complaints == []
    assert [url for url in view.requests if not url.startswith(("file:", "data:"))] == []
    assert view.evaluate("document.scripts.length") == 0

    levels = view.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels

    ids = view.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)), "ids are unique"
    assert view.evaluate("[...document.querySelectorAll('nav a, a.skip')].every(a => document.querySelector(a.hash))")
    assert view.evaluate("[...document.images].every(i => i.alt.trim() && i.complete && i.naturalWidth > 0)")
    assert view.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.querySelector('th'))")
    assert view.evaluate("[...document.querySelectorAll('svg')].every(s => s.getAttribute('role') === 'img')")
    assert all(view.accessible("image")), "every picture has a name"
    assert view.accessible("main") == [""] or len(view.accessible("main")) == 1

    view.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 360, 768, 1280):
        view.resize(width)
        assert view.evaluate("document.documentElement.scrollWidth") <= width, f"overflows at {width} pixels"
    grounds = []
    for name in ("light", "dark"):
        view.scheme(name)
        ground, ink = view.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
        assert contrast(ground, ink) >= 7
        link = view.evaluate("getComputedStyle(document.querySelector('nav a')).color")
        soft = view.evaluate("getComputedStyle(document.querySelector('footer')).color")
        assert min(contrast(ground, link), contrast(ground, soft)) >= 4.5
        grounds.append(ground)
    assert grounds[0] != grounds[1]
    view.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert view.evaluate("document.activeElement.className") == "skip", "the first stop of the Tab key"
    assert view.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two CSS colours, rgb(r, g, b), as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
