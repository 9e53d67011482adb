"""Arrays beside the images: what numpy wrote is read as numpy reads it, and damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genimage_stream.dataset.arrays import Arrays


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f4", "f2", "?", "<i8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_those_that_numpy_wrote(tmp_path: Path, dtype: str, shape: tuple[int, ...], order: str) -> None:
    values = np.random.default_rng(1).integers(0, 2, (3, *shape)).astype(dtype)
    for place, one in enumerate(values):
        np.save(tmp_path / f"{place}.npy", np.asarray(one, order=order))  # type: ignore[call-overload]
    found = Arrays("maps", str(tmp_path), ["0"]).read(["2", "0", "1"])
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(found, values[[2, 0, 1]])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01", b"x" * 200, "cut", "brackets", "objects"])
def test_a_damaged_array_is_named(tmp_path: Path, damage: bytes | str) -> None:
    np.save(tmp_path / "0.npy", np.zeros(3))
    np.save(tmp_path / "1.npy", np.array([{}]) if damage == "objects" else np.zeros(3))
    content = (tmp_path / "1.npy").read_bytes()
    if damage == "cut":
        content = content[:-1]
    elif damage == "brackets":
        content = content[:20] + b"(" * 30 + content[50:]
    elif isinstance(damage, bytes):
        content = damage
    (tmp_path / "1.npy").write_bytes(content)
    with pytest.raises(OSError, match=r"with_arrays\['maps'\]: 1\.npy in .* cannot be read"):
        Arrays("maps", str(tmp_path), ["0", "1"]).read(["1"])
