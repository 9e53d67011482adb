from __future__ import annotations

from collections.abc import Iterator

import pytest

from genimage_stream.decode import _core


@pytest.fixture(params=["vector", "plain"])
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs with the vector code of this machine, and with the plain code."""
    best = _core.simd_level()
    if request.param == "plain":
        _core.set_simd_level(0)
    yield request.param
    _core.set_simd_level(best)
