"""Progress of long work, behind one small interface: bars on a terminal, plain lines elsewhere. All on standard
error.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from genimage_stream.remedies import printable

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    def found(self, files: int) -> None:
        """While a source is listed: `files` more were found. Any thread may call; `begin`, `say` and `end` end it."""

    def begin(self, what: str, files: int, size_bytes: int, bad: str = "quarantined") -> None:
        """`bad`: what images are called that `advance` counts as such."""

    def advance(self, files: int, size_bytes: int, bad: int) -> None: ...
    def say(self, line: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    def found(self, files: int) -> None:
        pass

    def begin(self, what: str, files: int, size_bytes: int, bad: str = "quarantined") -> None:
        pass

    def advance(self, files: int, size_bytes: int, bad: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def end(self) -> None:
        pass


def duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class Lines:
    """A line every ten seconds, and one at the end."""

    interval = 10.0

    def __init__(self) -> None:
        self._what = ""
        self._found = 0
        self._last = time.monotonic()

    def found(self, files: int) -> None:
        self._found += files
        if time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            self.say(f"listing: {self._found:,} files so far")

    def begin(self, what: str, files: int, size_bytes: int, bad: str = "quarantined") -> None:
        self._what, self._files, self._bytes, self._called = what, files, size_bytes, bad
        self._done = self._read = self._bad = 0
        self._start = self._last = time.monotonic()

    def advance(self, files: int, size_bytes: int, bad: int) -> None:
        self._done += files
        self._read += size_bytes
        self._bad += bad
        if time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            self._line()

    def _line(self) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        left = (self._bytes - self._read) / self._read * seconds if self._read else 0.0
        self.say(
            f"{self._what}: {self._done:,}/{self._files:,} images, "
            f"{self._read / 1e6:,.0f}/{self._bytes / 1e6:,.0f} MB, "
            f"{self._done / seconds:,.0f} images/s, {self._read / 1e6 / seconds:,.0f} MB/s, {duration(left)} left, "
            f"{self._bad:,} {self._called}"
        )

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it, or its disk is full: the work goes on
            print(printable(line), file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._what:
            self._line()
            self._what = ""


class Bars:
    """A rich progress bar, on standard error or another console."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress
        from rich.status import Status

        self._console = console or Console(stderr=True)
        self._progress: RichProgress | None = None
        self._status: Status | None = None
        self._found = 0
        self._lock = threading.Lock()

    def found(self, files: int) -> None:
        with self._lock:
            self._found += files
            if self._status is None:
                self._status = self._console.status("")
                self._status.start()
            self._status.update(f"listing: {self._found:,} files so far")

    def _listed(self) -> None:
        with self._lock:
            if self._status is not None:
                self._status.stop()
                self._status = None

    def begin(self, what: str, files: int, size_bytes: int, bad: str = "quarantined") -> None:
        from rich import progress as p

        self._listed()
        self._bad = 0
        self._start = time.monotonic()
        self._done = 0
        # A line that does not fit is cut off or wrapped, so narrow terminals get fewer columns.
        width = self._console.width
        columns: list[p.ProgressColumn] = [p.TextColumn("{task.description}")]
        if width >= 60:
            columns.append(p.BarColumn(10 if width < 100 else 30))
        columns.append(p.TaskProgressColumn() if width < 140 else p.DownloadColumn())
        if width >= 140:
            columns.append(p.TransferSpeedColumn())
        columns.append(p.TextColumn("{task.fields[images]:,} images, {task.fields[rate]:,.0f}/s"))
        if width >= 70:
            columns.append(p.TimeRemainingColumn())
        if width >= 80:
            columns.append(p.TextColumn("{task.fields[bad]:,} " + bad))
        self._progress = p.Progress(*columns, console=self._console)
        self._progress.start()
        self._task = self._progress.add_task(what, total=size_bytes, images=0, rate=0.0, bad=0)

    def advance(self, files: int, size_bytes: int, bad: int) -> None:
        if self._progress is None:
            return
        self._done += files
        self._bad += bad
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        self._progress.update(self._task, advance=size_bytes, images=self._done, rate=rate, bad=self._bad)

    def say(self, line: str) -> None:
        self._listed()
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        self._listed()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def make_progress() -> Progress:
    return Bars() if sys.stderr.isatty() else Lines()
