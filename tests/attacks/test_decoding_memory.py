"""Images of a few kB that decode to gigabytes: one budget holds for all threads of a process."""

from __future__ import annotations

import io
import os
import selectors
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

import genimage_stream as gs
from genimage_stream.decode import _core
from genimage_stream.resources import decoding_memory, memory_bytes


def plain(form: str, side: int, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, form, **options)
    return file.getvalue()


def peak_mb(script: str, *files: Path) -> float:
    """How much the resident memory of a new process grows at most while `work()` of the script runs."""
    whole = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\nimport PIL.Image\nimport genimage_stream as gs\n"
        "gs.decode(Path(sys.argv[1]).read_bytes())\n"  # imports what decoding needs
        + script
        + """
def high():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
before = high()
work()
print(high() - before)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", whole, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "2"},
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.fixture(scope="module")
def largest_webp() -> bytes:
    """16383 x 16383: an animation of one small frame is of any canvas, and takes no time to make."""
    small = plain("WEBP", 16, lossless=True)
    frame = small[12:]  # the VP8L chunk

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)

    three = lambda number: number.to_bytes(3, "little")  # noqa: E731
    canvas = chunk(b"VP8X", b"\x02\0\0\0" + three(16382) + three(16382))
    animation = chunk(b"ANIM", b"\0" * 6)
    parts = three(0) + three(0) + three(15) + three(15) + three(100) + b"\0" + frame
    body = b"WEBP" + canvas + animation + chunk(b"ANMF", parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_the_largest_webp_is_refused_by_16_threads(largest_webp: bytes, tmp_path: Path) -> None:
    for name, data in (("small", plain("WEBP", 16)), ("large", largest_webp)):
        (tmp_path / name).write_bytes(data)
    grown = peak_mb(
        """
data = Path(sys.argv[2]).read_bytes()
def work():
    errors = gs.decode_batch([data] * 32, np.zeros((32, 3, 8, 8), np.uint8), crops=[(0, 0)] * 32, threads=16)
    assert len(errors) == 32
    assert all("Limits(memory=...)" in error.message for error in errors), errors
""",
        tmp_path / "small",
        tmp_path / "large",
    )
    assert grown < 200


def large(form: str, side: int) -> bytes:
    quick = {
        "JPEG": {"progressive": True, "subsampling": 0},
        "WEBP": {"quality": 1, "method": 0},
        "AVIF": {"speed": 10},
    }
    return plain(form, side, **quick.get(form, {}))


SLACK_MB = 120  # what the C library keeps of smaller pieces


@pytest.mark.parametrize("form", ["WEBP", "PNG", "JPEG"])
def test_threads_share_the_budget(form: str, tmp_path: Path) -> None:
    """Six threads, each with an image that takes more than half of the budget: one at a time.

    Beyond 64 MB no thread keeps what an image needed: that would come on top."""
    side = 4500 if form == "PNG" else 4000
    (tmp_path / "small").write_bytes(plain(form, 16))
    (tmp_path / "large").write_bytes(large(form, side))
    budget = {"WEBP": 100, "PNG": 110, "JPEG": 230}[form] * 10**6
    grown = peak_mb(
        f"""
data = Path(sys.argv[2]).read_bytes()
def work():
    errors = gs.decode_batch([data] * 12, np.zeros((12, 3, 8, 8), np.uint8), crops=[({side} - 8, {side} - 8)] * 12,
                             threads=6, limits=gs.Limits(memory={budget}))
    assert not errors, errors
""",
        tmp_path / "small",
        tmp_path / "large",
    )
    # Six at once would take more than three times the budget; the allocator's leftovers depend on the machine's load.
    assert grown < 1.5 * budget / 1e6 + SLACK_MB


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else [])])
def test_no_format_takes_more_than_its_lease(form: str, tmp_path: Path) -> None:
    side = 4000
    (tmp_path / "small").write_bytes(plain(form, 16))
    (tmp_path / "large").write_bytes(large(form, side))
    grown = peak_mb(
        "data = Path(sys.argv[2]).read_bytes()\n"
        "def work():\n    gs.decode_batch([data], np.zeros((1, 3, 8, 8), np.uint8), crops=[(0, 0)], threads=1)\n",
        tmp_path / "small",
        tmp_path / "large",
    )
    assert grown < 24 * side * side / 2**20 + SLACK_MB / 4


def test_processes_take_turns_with_large_images(tmp_path: Path) -> None:
    """Each process has its own budget, and the workers of a pack share one file: who is killed lets go of it."""
    script = """
import sys
from genimage_stream.decode import _core
_core.share_leases(int(sys.argv[1]), 100)
small = _core.MemoryLease(100, 1000)
large = _core.MemoryLease(101, 1000)
print("large", flush=True)
sys.stdin.read()
"""
    with (tmp_path / "gate").open("wb") as gate:
        command = [sys.executable, "-c", script, str(gate.fileno())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        first, second = (
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, pass_fds=[gate.fileno()])
            for _ in range(2)
        )
        try:
            assert first.stdout is not None
            assert second.stdout is not None
            with selectors.DefaultSelector() as answers:
                answers.register(first.stdout, selectors.EVENT_READ)
                answers.register(second.stdout, selectors.EVENT_READ)
                ((key, _),) = answers.select(200)
            held, waiting = (first, second) if key.fileobj is first.stdout else (second, first)
            assert held.stdout is not None
            assert held.stdout.readline() == "large\n"
            assert waiting.poll() is None
            held.kill()
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "large\n"
        finally:
            for process in (first, second):
                process.kill()
                process.wait()
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.close()
                process.stdout.close()


def test_what_does_not_fit_is_refused_everywhere() -> None:
    limits = gs.Limits(memory="1MB")
    for data in (plain("PNG", 1000), plain("WEBP", 1000), plain("JPEG", 1000, progressive=True)):
        for call in (gs.decode, gs.check, gs.make_crop_ready):
            if call is gs.make_crop_ready and data[:4] == b"RIFF":
                continue
            with pytest.raises(gs.DecodeError, match=r"limit of 1 MB for all threads.*Limits\(memory"):
                call(data, limits=limits)  # type: ignore[operator]
        (error,) = gs.decode_batch([data], np.zeros((1, 3, 8, 8), np.uint8), crops=[(0, 0)], limits=limits)
        assert error.kind == "decode"
        gs.inspect(data, limits=limits)
    gs.decode(plain("JPEG", 1000), limits=limits)  # whose rows are handed over as they come
    assert _core.leased_bytes() == 0


def test_who_waits_is_served_when_another_gives_back() -> None:
    held = _core.MemoryLease(90, 100)
    order: list[str] = []

    def asked(name: str, size: int) -> threading.Thread:
        """A thread that waits for its lease."""
        asking = threading.Event()

        def ask() -> None:
            asking.set()
            lease = _core.MemoryLease(size, 100)
            order.append(name)
            lease.release()

        thread = threading.Thread(target=ask)
        thread.start()
        assert asking.wait(60)
        thread.join(0.3)
        assert thread.is_alive()
        return thread

    first = asked("large", 100)
    second = asked("small", 5)  # would fit, and does not overtake
    held.release()
    first.join()
    second.join()
    assert order == ["large", "small"]
    assert _core.leased_bytes() == 0
    with pytest.raises(gs.DecodeError, match="more than the limit"):
        _core.MemoryLease(101, 100)


def test_a_forked_child_has_the_whole_budget() -> None:
    held = _core.MemoryLease(90, 100)
    child = os.fork()
    if child == 0:
        os._exit(_core.leased_bytes() != 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.release()


def test_the_default_is_a_quarter_of_the_memory(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert gs.Limits().memory == decoding_memory() == min(2 * 10**9, memory_bytes() // 4)
    (tmp_path / "a" / "b").mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    assert memory_bytes(tmp_path, own) == machine
    (tmp_path / "a" / "memory.max").write_text("400000000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    assert memory_bytes(tmp_path, own) == 400_000_000
    own.write_text("0::/not/seen/from/here\n")
    (tmp_path / "memory.max").write_text("300000000\n")
    assert memory_bytes(tmp_path, own) == 300_000_000
    own.write_text("4:cpu,memory:/c\n2:pids:/\n")
    (tmp_path / "memory" / "c").mkdir(parents=True)
    (tmp_path / "memory" / "c" / "memory.limit_in_bytes").write_text("500000000\n")
    assert memory_bytes(tmp_path, own) == 500_000_000
    assert memory_bytes(tmp_path, tmp_path / "missing") == machine


@pytest.mark.parametrize("bad", [0, -1, "much", True, 1 << 63])
def test_senseless_budgets(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        gs.Limits(memory=bad)
