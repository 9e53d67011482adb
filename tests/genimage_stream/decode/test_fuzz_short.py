"""A short, repeatable run of the fuzzing in fuzz/: the long ones are `fuzz/campaign.sh SECONDS`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode import _core

FUZZ = Path(__file__).parents[3] / "fuzz"
TARGETS = (
    "fuzz_jpeg",
    "fuzz_png",
    "fuzz_webp",
    "fuzz_transform",
    "fuzz_batch",
    "fuzz_crop_ready",
    "fuzz_bands",
    "fuzz_lazy",
    "fuzz_inflate",
)
SEEDS = {"fuzz_inflate": ["inflate"], "fuzz_webp": ["webp"], "fuzz_transform": ["webp"]}  # any bytes do for transforms
LIMITS = gs.Limits(max_pixels=1 << 18, max_bytes=1 << 20)


@pytest.fixture(scope="module")
def tools() -> Any:
    sys.path.insert(0, str(FUZZ))
    try:
        import against_pillow
        import make_seeds
    finally:
        sys.path.remove(str(FUZZ))
    return against_pillow, make_seeds


def test_mutations_against_pillow(tools: Any) -> None:
    counts = tools[0].run(seconds=60, images=6000)
    assert counts["different"] == 0, counts
    assert counts["same"] > 300, counts


def test_mutations_in_batches(tools: Any) -> None:
    """Whatever the bytes: a batch gives what one image at a time gives, at every SIMD level, and errors stay apart."""
    against_pillow, make_seeds = tools
    rng = np.random.default_rng(9)
    seeds = [*make_seeds.jpegs(rng).values(), *make_seeds.pngs(rng).values()]
    level = _core.simd_level()
    decoder = gs.BatchDecoder(2, limits=LIMITS)
    try:
        for number in range(60):
            images = []
            for _ in range(24):
                data = seeds[int(rng.integers(0, len(seeds)))]
                images.append(against_pillow.mutate(rng, data) if rng.integers(0, 2) else data)
            small = ("tile", "reflect", "constant", "resize")[number % 4]
            crops = np.zeros((24, 2), np.int32)
            outs = []
            for at in (level, 0):
                _core.set_simd_level(at)
                out = np.full((24, 3, 20, 24), 7, np.uint8)
                errors = decoder.decode_batch(images, out, crops=crops, small=small, flips=np.arange(24) % 2)
                outs.append((out, {e.index for e in errors}))
            _core.set_simd_level(level)
            (fast, failed), (slow, failed_slow) = outs
            for i, data in enumerate(images):
                if i in failed or i in failed_slow:
                    assert i not in failed or not fast[i].any()
                    continue
                np.testing.assert_array_equal(fast[i], slow[i])
                try:
                    whole = gs.decode(data, limits=LIMITS)
                except gs.DecodeError:
                    continue  # the damage lies outside the window
                if whole.shape[0] >= 20 and whole.shape[1] >= 24:
                    want = whole[:20, :24]
                    np.testing.assert_array_equal(fast[i].transpose(1, 2, 0), want[:, ::-1] if i % 2 else want)
    finally:
        _core.set_simd_level(level)


@pytest.mark.timeout(1800)  # it compiles the core under two sanitizers
@pytest.mark.skipif(shutil.which("clang++") is None, reason="no clang++ for libFuzzer (Debian: clang, libclang-rt-dev)")
def test_libfuzzer_targets(tmp_path: Path) -> None:
    """Each target under ASan and UBSan, on the seeds and a second of mutations."""
    quick = ["FUZZER=build/quick", "OPTIMISE=-O0"]
    made = subprocess.run(
        ["make", "-C", str(FUZZ), f"-j{os.cpu_count() or 1}", f"PYTHON={sys.executable}", *quick, "seeds", "fuzzer"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode and ("fuzzer" in made.stderr or "png.h" in made.stderr or "asan" in made.stderr):
        pytest.skip(f"the fuzz targets cannot be built here: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr

    def run(target: str) -> tuple[str, int, str]:
        corpus = tmp_path / target
        corpus.mkdir()
        seeds = SEEDS.get(target, ["jpeg", "png"])
        ran = subprocess.run(
            [
                str(FUZZ / "build/quick" / target),
                *("-seed=1", "-max_total_time=1", "-max_len=8192", "-timeout=300", "-rss_limit_mb=2500"),
                f"-artifact_prefix={tmp_path}/",
                *(str(corpus), *(str(FUZZ / "build/seeds" / kind) for kind in seeds)),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return target, ran.returncode, ran.stderr[-3000:]

    with ThreadPoolExecutor(os.cpu_count()) as targets:
        for target, code, said in targets.map(run, TARGETS):
            assert code == 0, f"{target}: {said}"
