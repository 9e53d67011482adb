"""Decoding by the CPU for batches on a GPU: the batches of the host, bit for bit. Here the device is the host as well,
which differs from a GPU in the copies, and in that NumPy finishes the batches."""

from __future__ import annotations

import gc
import os
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.backends.cuda import DeviceRenderer
from genimage_stream.decode import BatchDecoder, PixelOptions
from genimage_stream.loading import engine
from genimage_stream.order.windows import Windows
from tests.fixtures.shards import make_samples, write_dataset

CROP = 48  # some fakes are smaller
CPU = torch.device("cpu")


class Memory:
    """Buffers of uint8, and whether they are still held."""

    def __init__(self, height: int, width: int) -> None:
        self._size = (height, width)
        self._taken: list[weakref.ref[torch.Tensor]] = []

    def take(self, n: int, window: tuple[int, int] | None = None) -> torch.Tensor:
        images = torch.zeros((n, 3, *(window or self._size)), dtype=torch.uint8)
        self._taken.append(weakref.ref(images))
        return images

    def held(self) -> list[bool]:
        return [taken() is not None for taken in self._taken]


MEMORY = Memory(CROP, CROP)


def device_renderer(options: Any, decoder: BatchDecoder, *_: Any) -> DeviceRenderer:
    return DeviceRenderer(decoder, MEMORY, options.pixels(), device=CPU, channels_last=options.channels_last)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("device"), make_samples(6))


def loader(data: gs.Dataset, *, on_device: bool, **options: Any) -> gs.Loader:
    geometry = {} if "transform" in options else {"crop": CROP, "flip": True}
    made = gs.Loader(data, 7, seed=3, threads=2, **geometry, **options)
    if on_device:
        with pytest.MonkeyPatch.context() as here:
            here.setattr(engine, "new_renderer", device_renderer)
            next(iter(made))
        made.set_epoch(0)
    return made


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("output", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("small", ["tile", "constant"])
def test_batches_are_those_of_the_host(folder: Path, output: Any, channels_last: bool, small: Any) -> None:
    options: dict[str, Any] = {"output": output, "channels_last": channels_last, "small": small}
    if output == "float16":
        options |= {"normalize": ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))}
    data = gs.open_dataset(folder)
    here, there = loader(data, on_device=False, **options), loader(data, on_device=True, **options)
    assert_equal(data, here, there)


def test_transforms_are_those_of_the_host(folder: Path) -> None:
    steps = [T.Resize(CROP + 9), T.RandomApply(T.JPEG((30, 90))), T.RandomCrop(CROP), T.RandomHorizontalFlip()]
    data = gs.open_dataset(folder)
    options: dict[str, Any] = {"transform": steps, "output": "float32", "normalize": "clip"}
    assert_equal(data, loader(data, on_device=False, **options), loader(data, on_device=True, **options))


@pytest.mark.parametrize("output", ["float16", "float32"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_on_normalised_values_are_those_of_the_host(folder: Path, output: Any, channels_last: bool) -> None:
    noise = T.RandomErasing(0.7, value="random", after_normalize=True)
    for late in ([noise], [T.PatchMask(8, after_normalize=True), T.RandomApply(noise, 0.5), noise]):
        steps = [T.Resize(CROP + 9), T.RandomCrop(CROP), *late]
        data = gs.open_dataset(folder)
        options: dict[str, Any] = {"transform": steps, "output": output, "channels_last": channels_last}
        assert_equal(data, loader(data, on_device=False, **options), loader(data, on_device=True, **options))
    before = loader(data, on_device=True, transform=[T.Resize(CROP + 9), T.RandomCrop(CROP)], output=output)
    assert not torch.equal(next(iter(before)).images, next(iter(loader(data, on_device=True, **options))).images)


def assert_equal(data: gs.Dataset, here: gs.Loader, there: gs.Loader) -> None:
    count = 0
    for _ in range(2):
        for a, b in zip(here, there, strict=True):
            assert a.keys == b.keys
            assert a.images.dtype == b.images.dtype
            assert a.images.stride() == b.images.stride()
            assert torch.equal(a.images, b.images)
            count += len(a)
    assert count == 2 * len(data)


def test_kept_batches_stay_as_they_are(folder: Path) -> None:
    data = gs.open_dataset(folder)
    for a, b in zip(list(loader(data, on_device=False)), list(loader(data, on_device=True)), strict=True):
        assert torch.equal(a.images, b.images)


def test_bad_images_are_skipped_or_raised(tmp_path: Path) -> None:
    samples = make_samples(6)
    bad = next(i for i, sample in enumerate(samples) if sample.format == "png")
    samples[bad] = replace(samples[bad], data=samples[bad].data[:100])
    data = gs.open_dataset(write_dataset(tmp_path, samples))
    pairs = zip(
        loader(data, on_device=False, on_error="skip"), loader(data, on_device=True, on_error="skip"), strict=True
    )
    assert sum(len(a) for a, b in pairs if torch.equal(a.images, b.images)) == len(data) - 1
    with pytest.raises(gs.DecodeError, match=samples[bad].key):
        list(loader(data, on_device=True))


class Work:
    """A decoder, and its jobs: done when told so."""

    def __init__(self) -> None:
        self.done = False

    def submit(self, *_: Any, **options: Any) -> Work:
        assert options["mean"] is None  # the output is uint8
        return self

    def wait(self, timeout: float) -> bool:
        return self.done


def test_a_batch_is_sent_when_the_one_before_is_taken() -> None:
    work, memory = Work(), Memory(4, 4)
    pixels = PixelOptions("float32", mean=(0, 0, 0), std=(1, 1, 1))
    renderer = DeviceRenderer(work, memory, pixels, device=CPU)  # type: ignore[arg-type]
    windows = Windows(np.zeros((2, 2), np.int32), np.zeros(2, np.uint8), np.zeros((2, 2), np.int32))
    first, second = (renderer.submit([b"", b""], windows) for _ in range(2))
    assert not first.wait(0)
    work.done = True
    assert first.wait(0)
    assert memory.held() == [False, True]
    assert first.images().dtype == torch.float32
    assert memory.held() == [False, False]  # sent, and its memory is free
    assert second.images().dtype == torch.float32


def test_an_epoch_that_is_left_gives_its_memory_back(folder: Path) -> None:
    made = loader(gs.open_dataset(folder), on_device=True)
    for _ in range(3):
        epoch = iter(made)
        next(epoch)
        epoch.close()
    del epoch
    gc.collect()
    assert not any(MEMORY.held())
    assert sum(len(batch) for batch in made) == len(made.dataset)


def test_a_fork_is_an_error(folder: Path) -> None:
    made = loader(gs.open_dataset(folder), on_device=True)
    next(iter(made))
    child = os.fork()
    if child == 0:
        try:
            next(iter(made))
        except RuntimeError as error:
            os._exit(7 if 'backend="cpu" with device=' in str(error) and "survive a fork" in str(error) else 1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
