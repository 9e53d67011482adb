from __future__ import annotations

from collections.abc import Iterator

import pytest

from genimage_stream.decode import _core


@pytest.fixture(params=["vector", "avx2", "plain"])
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs with the vector code of this machine, with AVX2's where it has better, and with the plain code."""
    best = _core.simd_level()
    if request.param == "avx2" and best <= 2:
        pytest.skip("AVX2 is the best that this CPU has, or it has less")
    _core.set_simd_level({"vector": best, "avx2": 2, "plain": 0}[request.param])
    yield request.param
    _core.set_simd_level(best)
