"""Threads of Python that use one decoder, one job or one thread-local room at the same time; also without the GIL.

`fuzz/tsan_tests.sh` runs this file under ThreadSanitizer.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode.batch import Job

THREADS = 4
SIDE = 24
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def encoded(seed: int, form: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((150 + seed, 130), Image.Resampling.BICUBIC).save(file, form)
    return file.getvalue()


IMAGES = [encoded(seed, form) for seed, form in enumerate(["PNG", "JPEG", "WEBP"] * 4)]


def expected(corner: int) -> npt.NDArray[np.uint8]:
    cut = slice(corner, corner + SIDE)
    return np.stack([gs.decode(data)[cut, cut].transpose(2, 0, 1) for data in IMAGES])


def in_threads(work: Callable[[int], None]) -> None:
    """The same at the same time; what any of them raises is raised here."""
    gate = threading.Barrier(THREADS)

    def begin(thread: int) -> None:
        gate.wait()
        work(thread)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begin, range(THREADS)))


def test_threads_share_a_decoder_that_is_closed_and_starts_again() -> None:
    want = {corner: expected(corner) for corner in range(THREADS)}
    with gs.BatchDecoder(2) as decoder:

        def work(thread: int) -> None:
            draw = random.Random(thread)
            for _ in range(25):
                out = np.zeros((len(IMAGES), 3, SIDE, SIDE), np.uint8)
                job = decoder.submit(IMAGES, out, crops=np.full((len(IMAGES), 2), thread, np.int32))
                if draw.random() < 0.1:
                    decoder.close()
                if draw.random() < 0.2:
                    job.cancel()
                job.wait()
                left = {error.index for error in job.errors()}
                assert {error.kind for error in job.errors()} <= {"cancelled"}
                for i in set(range(len(IMAGES))) - left:
                    np.testing.assert_array_equal(out[i], want[thread][i])

        in_threads(work)


def test_threads_wait_for_one_job() -> None:
    want = expected(3)
    with gs.BatchDecoder(2) as decoder:
        for _ in range(25):
            out = np.zeros((len(IMAGES), 3, SIDE, SIDE), np.uint8)
            job = decoder.submit(IMAGES, out, crops=np.full((len(IMAGES), 2), 3, np.int32))

            def work(thread: int, job: Job = job) -> None:
                while not (job.done() if thread % 2 else job.wait(0.01)):
                    job.stats()
                assert job.errors() == []
                assert job.diverted() == []

            in_threads(work)
            np.testing.assert_array_equal(out, want)


def test_threads_decode_recode_and_transform_one_image_each() -> None:
    steps = [T.RandomCrop(64, pad="tile"), T.JPEG(quality=70), T.GaussianBlur(sigma=1.0)]
    pixels = [gs.decode(data) for data in IMAGES]
    changed = [T.apply(data, steps, seed=i) for i, data in enumerate(IMAGES)]
    ready = [gs.make_crop_ready(data) for data in IMAGES]

    def work(thread: int) -> None:
        order = list(range(len(IMAGES)))
        random.Random(thread).shuffle(order)
        for i in order:
            np.testing.assert_array_equal(gs.decode(IMAGES[i]), pixels[i])
            np.testing.assert_array_equal(T.apply(IMAGES[i], steps, seed=i), changed[i])
            assert gs.make_crop_ready(IMAGES[i]) == ready[i]
            assert gs.check(IMAGES[i]).width == 150 + i

    in_threads(work)


def test_decoders_come_and_go_in_threads() -> None:
    def work(thread: int) -> None:
        for _ in range(10):
            with gs.BatchDecoder(1) as decoder:
                out = np.zeros((1, 3, SIDE, SIDE), np.uint8)
                assert decoder.decode_batch(IMAGES[thread : thread + 1], out, crops=[(0, 0)]) == []

    in_threads(work)


@pytest.mark.skipif(not FREE_THREADED, reason="needs a Python without the GIL, e.g. 3.14t")
def test_importing_the_core_does_not_bring_the_gil_back() -> None:
    code = "import genimage_stream, sys; print(sys._is_gil_enabled())"
    said = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
