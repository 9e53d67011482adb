"""The pool's life: jobs that are dropped, cancelled, interrupted, forked, or alive when the interpreter ends."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs

PRELUDE = """
import io, os, signal, sys, threading, time
import numpy as np
from PIL import Image
import genimage_stream as gs
file = io.BytesIO()
Image.effect_noise((700, 700), 60).convert("RGB").save(file, "PNG", compress_level=1)
images = [file.getvalue()] * 60
crops = np.zeros((60, 2), np.int32)
out = np.zeros((60, 3, 600, 600), np.uint8)
decoder = gs.BatchDecoder(2)
"""


def script(body: str, *, timeout: float = 240, expect: int = 0) -> str:
    """Run in a process of its own; a hang is a failure."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE + body],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def noise() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((600, 600), 60).convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_cancel_lists_what_was_left_out(noise: bytes) -> None:
    n = 3000  # minutes of work under load, of which hardly any is done; the last corner needs the whole image
    out = np.full((n, 3, 20, 20), 5, np.uint8)
    with gs.BatchDecoder(1) as decoder:
        job = decoder.submit([noise] * n, out, crops=np.full((n, 2), 580, np.int32))
        job.cancel()
        assert job.wait(60)
        errors = job.errors()
    assert errors
    assert {e.kind for e in errors} == {"cancelled"}
    left = {e.index for e in errors}
    want = gs.decode(noise)[580:, 580:].transpose(2, 0, 1)
    for i in range(n):
        if i in left:
            assert (out[i] == 5).all()
        else:
            np.testing.assert_array_equal(out[i], want)


def test_closed_decoder_starts_again(noise: bytes) -> None:
    decoder = gs.BatchDecoder(2)
    out = np.zeros((1, 3, 10, 10), np.uint8)
    for _ in range(3):
        assert decoder.decode_batch([noise], out, crops=[(0, 0)]) == []
        decoder.close()
    decoder.close()


def test_close_with_jobs_in_flight(noise: bytes) -> None:
    decoder = gs.BatchDecoder(2)
    out = np.zeros((40, 3, 500, 500), np.uint8)
    job = decoder.submit([noise] * 40, out, crops=np.zeros((40, 2), np.int32))
    decoder.close()
    assert job.wait(60)
    assert {e.kind for e in job.errors()} <= {"cancelled"}


@pytest.mark.parametrize("order", ["decoder first", "job first", "out first"])
def test_dropped_objects(noise: bytes, order: str) -> None:
    for _ in range(3):
        decoder = gs.BatchDecoder(2)
        out = np.zeros((20, 3, 500, 500), np.uint8)
        job = decoder.submit([bytes(noise) for _ in range(20)], out, crops=np.zeros((20, 2), np.int32))
        if order == "decoder first":
            del decoder
            assert job.wait(60)
            assert job.errors() == []
            del job
        elif order == "job first":
            del job
            del decoder
        else:
            del out
            assert job.wait(60)
            del decoder, job
        gc.collect()


def test_a_finished_job_lets_go(noise: bytes) -> None:
    class Owner(np.ndarray):
        pass

    out = np.zeros((2, 3, 10, 10), np.uint8).view(Owner)
    alive = weakref.ref(out)
    decoder = gs.BatchDecoder(1)
    job = decoder.submit([noise, noise], out, crops=[(0, 0)] * 2)
    assert job.wait(60)
    del out
    gc.collect()
    assert alive() is None
    assert job.errors() == []


@pytest.mark.parametrize("how", ["wait", "done", "errors", "decode_batch"])
def test_a_finished_job_lets_go_of_its_source(noise: bytes, how: str) -> None:
    source, other = bytearray(noise), bytearray(noise)
    out = np.zeros((1, 3, 10, 10), np.uint8)
    if how == "decode_batch":
        assert gs.decode_batch([source], out, crops=[(0, 0)]) == []
    else:
        decoder = gs.BatchDecoder(1)
        job = decoder.submit([source], out, crops=[(0, 0)])
        later = decoder.submit([other], out.copy(), crops=[(0, 0)])
        assert later.wait(60)
        assert not source_is_held(other)
        assert {"wait": job.wait, "done": job.done, "errors": job.errors}[how]() in (True, [])  # done before `later`
    assert not source_is_held(source)


def source_is_held(source: bytearray) -> bool:
    try:
        source.extend(b"x")
    except BufferError:
        return True
    return False


def test_what_a_finished_job_lets_go_of_may_use_the_decoder(noise: bytes) -> None:
    decoder = gs.BatchDecoder(1)
    wrong: list[object] = []

    class Owner(np.ndarray):
        def __del__(self) -> None:
            if self.base is not None:
                wrong.extend(decoder.decode_batch([noise], np.zeros((1, 3, 4, 4), np.uint8), crops=[(0, 0)]))
                wrong.append("gone")

    jobs = [decoder.submit([noise], np.zeros((1, 3, 10, 10), np.uint8).view(Owner), crops=[(0, 0)]) for _ in range(5)]
    for job in jobs:
        assert job.wait(60)
        assert job.errors() == []
    gc.collect()
    assert wrong == ["gone"] * 5


def test_timeout(noise: bytes) -> None:
    n = 3000  # so that it is not done before the next lines, however long this thread has to wait for its turn
    decoder = gs.BatchDecoder(1)
    job = decoder.submit([noise] * n, np.zeros((n, 3, 20, 20), np.uint8), crops=np.full((n, 2), 580, np.int32))
    assert job.wait(0) is False
    assert job.wait(0.001) is False
    assert job.done() is False
    job.cancel()
    assert job.wait(float("inf")) is True
    assert job.done() is True


def test_many_python_threads(noise: bytes) -> None:
    decoder = gs.BatchDecoder(2)
    want = gs.decode(noise)[7:107, 3:103].transpose(2, 0, 1)
    wrong: list[object] = []

    def work() -> None:
        for _ in range(10):
            out = np.zeros((3, 3, 100, 100), np.uint8)
            wrong.extend(decoder.decode_batch([noise] * 3, out, crops=[(3, 7)] * 3))
            if not (out == want).all():
                wrong.append(out)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not wrong


def test_no_threads_before_the_first_job() -> None:
    script("""
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()
other = gs.BatchDecoder(8)
assert threads() == before
other.decode_batch(images[:1], out[:1], crops=crops[:1])
assert threads() == before + 8
del other
end = time.monotonic() + 60
while threads() != before:  # a thread that was joined is listed for a moment more
    assert time.monotonic() < end
    time.sleep(0.01)
""")


def test_idle_threads_sleep() -> None:
    """Nobody polls: a thread with nothing to do is never scheduled, once it has come to rest."""
    script("""
decoder.decode_batch(images[:2], out[:2], crops=crops[:2])
def switches():
    counts = {}
    for task in os.listdir("/proc/self/task"):
        status = open(f"/proc/self/task/{task}/status").read()
        if "gs-decode" in status:
            counts[task] = [line for line in status.splitlines() if "ctxt_switches" in line]
    return counts
for _ in range(100):
    before = switches()
    assert len(before) == 2
    time.sleep(0.3)
    if switches() == before:
        break
else:
    raise AssertionError("a thread is scheduled again and again")
""")


def test_the_interpreter_ends_with_jobs_in_flight() -> None:
    script("job = decoder.submit(images, out, crops=crops)\n")
    script("decoder.submit(images, out, crops=crops); del decoder, out, images\n")
    script("decoder.submit(images, out, crops=crops)\nsys.exit(3)", expect=3)
    through_pillow = """
file = io.BytesIO()
Image.effect_noise((500, 500), 60).convert("RGB").save(file, "TIFF")
job = decoder.submit([file.getvalue()] * 60, out, crops=crops)
"""
    script(through_pillow)


def test_ctrl_c_interrupts_a_wait() -> None:
    out = script("""
jobs = [decoder.submit(images, out, crops=crops) for _ in range(200)]
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    jobs[-1].wait()
except KeyboardInterrupt:
    print("interrupted, done:", jobs[-1].done())
""")
    assert "interrupted, done: False" in out


def test_fork() -> None:
    out = script("""
assert decoder.decode_batch(images[:2], out[:2], crops=crops[:2]) == []
job = decoder.submit(images, out, crops=crops)  # the child is born with threads at work
pid = os.fork()
if pid == 0:
    try:
        job.wait()
    except RuntimeError as error:
        assert "before a fork" in str(error)
    else:
        os._exit(4)
    mine = np.zeros((2, 3, 600, 600), np.uint8)
    assert decoder.decode_batch(images[:2], mine, crops=crops[:2]) == []
    assert (mine[0] == gs.decode(images[0])[:600, :600].transpose(2, 0, 1)).all()
    del job, decoder
    sys.stdout.flush()
    sys.exit(5)  # with all the interpreter does at its end
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
assert job.wait() and job.errors() == []
print("parent done")
""")
    assert "parent done" in out


def test_fork_with_files(tmp_path: object) -> None:
    script(f"""
path = {str(tmp_path)!r} + "/images.bin"
open(path, "wb").write(images[0])
ranges = gs.FileRanges(gs.FileSet([path]), np.zeros(60, np.int32), np.zeros(60, np.int64),
                       np.full(60, len(images[0])))
job = decoder.submit(ranges, out, crops=crops)
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        assert decoder.decode_batch(ranges, np.zeros_like(out)[:, :, :9, :9].copy(), crops=crops) == []
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert job.wait() and job.errors() == []
""")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_signals_reach_the_main_thread_while_threads_work(noise: bytes) -> None:
    hits = []
    before = signal.signal(signal.SIGALRM, lambda *_: hits.append(threading.current_thread()))
    try:
        decoder = gs.BatchDecoder(2)
        out = np.zeros((60, 3, 500, 500), np.uint8)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        decoder.decode_batch([noise] * 60, out, crops=np.zeros((60, 2), np.int32))
        time.sleep(0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits == [threading.main_thread()]
