"""Arrays beside the images: what numpy wrote is read as numpy reads it, and damage is named."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "0.npy", np.zeros(3))
    if kind == "a pipe":
        os.mkfifo(tmp_path / "1.npy")
    else:
        (tmp_path / "1.npy").symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"1\.npy in .* cannot be read \(it is not a regular file"):
        Arrays("maps", str(tmp_path), ["0", "1"]).read(["1"])


def npz(path: Path, *, claimed: int | None = None, flags: int = 0, method: int | None = None, flip: int = 0) -> str:
    """A file of two arrays; of the second the directory claims a size, flags and a method, and a bit is flipped."""
    np.savez_compressed(path, a=np.zeros(3), b=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the member's header, and that of the directory
        place = content.rindex(signature)
        content[place + at] |= flags
        if method is not None:
            content[place + at + 2] = method
        if claimed is not None:
            content[place + at + 16 : place + at + 20] = claimed.to_bytes(4, "little")
        if flip and at == 6:
            content[place + 100] ^= flip
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    "odd", [{"claimed": 0xF0000000}, {"flags": 1}, {"method": 99}, {"method": 14}, {"method": 12}, {"flip": 0xFF}]
)
def test_an_entry_of_a_zip_that_is_damaged_or_claims_too_much(tmp_path: Path, odd: dict[str, int]) -> None:
    arrays = Arrays("maps", npz(tmp_path / "x.npz", **odd), ["a", "b"])
    with pytest.raises(OSError, match=r"with_arrays\['maps'\]: b\.npy in .* cannot be read"):
        arrays.read(["b"])
