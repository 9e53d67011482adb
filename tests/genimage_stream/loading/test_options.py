"""Options of the loader: what would fail at the first batch, or would be ignored, is an error when it is made."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

import genimage_stream as gs
from genimage_stream.decode import PixelOptions
from genimage_stream.loading.options import IMAGENET_MEAN, IMAGENET_STD, LoaderOptions
from tests.fixtures.shards import make_dataset

NAMES = [field.name for field in fields(LoaderOptions)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fill": (1, 2)}, "fill must be three"),
        ({"fill": (0, 0, 300)}, "fill must be three"),
        ({"fill": 0}, "fill must be three"),
        ({"fill": (255, 255, 255)}, "fill=.* has no effect with small='tile'"),
        ({"fill": (1, 2, 3), "small": "reflect"}, "fill=.* has no effect with small='reflect'"),
        ({"output": "float32", "normalize": ((0, 0, 0), (0, 1, 1))}, "std must not be 0"),
        ({"output": "float32", "normalize": ((0, 0, 0), (1, 1, float("inf")))}, "std must be three finite"),
        ({"output": "float32", "normalize": ((0, 0, 0), (1e-50, 1, 1))}, "pixels would be larger than float32 holds"),
        ({"output": "float16", "normalize": ((0, 0, 0), (1e-6, 1, 1))}, "pixels would be larger than float16 holds"),
        ({"output": "float32", "normalize": ((1e300, 0, 0), (1, 1, 1))}, "pixels would be larger than float32 holds"),
        ({"output": "float16", "normalize": ((1, 2), (1, 1, 1))}, "mean must be three finite"),
        ({"output": "float16", "normalize": ((10**400, 0, 0), (1, 1, 1))}, "mean must be three finite"),
        (
            {"output": "float16", "normalize": "imagnet"},
            "normalize='imagnet': one of 'imagenet', 'clip'",
        ),
        ({"output": "float16", "normalize": 0.5}, "normalize=0.5: one of"),
        ({"output": "float16", "normalize": (1, 2, 3)}, r"normalize=\(1, 2, 3\)"),
        ({"backend": "dali", "tune": True, "dali": gs.DaliOptions()}, "omit one of the two"),
        ({"normalize": "clip"}, 'normalize=.clip. needs output="float32" or "float16"'),
        ({"limits": 5}, "limits must be gs.Limits"),
        ({"pin_memory": "no"}, "pin_memory='no'"),
        ({"copy": "yes"}, "copy='yes'"),
        ({"strict": "yes"}, "strict='yes'"),
        ({"crop": 100_000}, "crop=100000: at most 65535"),
        ({"crop": (8, 65_536)}, "crop=65536: at most 65535"),
        ({"threads": 1 << 20}, "threads=1048576: at most 65536"),
        ({"batch_size": 2.5}, "batch_size=2.5: a whole number"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"device": 0}, "device=0"),
        ({"dali": {"threads": 2}}, "dali=.* DaliOptions is needed"),
        ({"dali": gs.DaliOptions()}, "tune and dali are options of backend"),
        ({"tune": True}, "tune and dali are options of backend"),
        ({"backend": "gpu"}, "backend='gpu'"),
        ({"epoch_size": 100}, "epoch_size=100 needs a mix"),
        ({"window": 16}, "window=16 has no effect with shuffle=True"),
        ({"window": 4, "shuffle": "full"}, "window=4 has no effect with shuffle='full'"),
        ({"window": 4, "shuffle": False}, "window=4 has no effect with shuffle=False"),
        ({"max_errors": 100}, "max_errors=100 has no effect with on_error"),
        ({"mix": "label"}, "mix='label'"),
        ({"mix": {}}, "mix={}"),
        ({"mix": {"color": "equal"}}, "mix={'color': 'equal'}: groups cannot be by 'color'"),
        ({"mix": {"label": "even"}}, "mix has the rule 'even'"),
        ({"mix": {"label": "equal"}, "epoch_size": 0}, "epoch_size=0"),
        ({"mix": {"label": "equal"}, "epoch_size": 2.5}, "epoch_size=2.5"),
        ({"mix": {"label": "equal"}, "epoch_size": "most"}, "epoch_size='most'"),
    ],
)
def test_what_would_fail_later_or_be_ignored(dataset: gs.Dataset, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gs.Loader(dataset, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_checked(dataset: gs.Dataset, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        gs.Loader(dataset, **{name: object()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mean", r"gs\.Loader has no argument mean=: write normalize=\(mean, std\)"),
        ("std", r"gs\.Loader has no argument std=: write normalize=\(mean, std\)"),
        ("num_workers", "threads="),
        ("transforms", r"transform=\["),
        ("sampler", "mix="),
        ("colate_fn", "see its documentation"),
        ("batchsize", r"did you mean batch_size=\?"),
    ],
)
def test_arguments_of_other_libraries(dataset: gs.Dataset, name: str, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        gs.Loader(dataset, **{name: (0.5, 0.5, 0.5)})  # type: ignore[arg-type]


def test_one_rule_for_numbers_of_the_wrong_kind(dataset: gs.Dataset) -> None:
    """The loader once raised ValueError where the decoder raised TypeError."""
    for error in (ValueError, TypeError):
        with pytest.raises(error, match=r"threads=2\.5: a whole number is needed"):
            gs.Loader(dataset, threads=2.5)  # type: ignore[arg-type]
        with pytest.raises(error, match=r"threads=2\.5: a whole number is needed"):
            gs.BatchDecoder(2.5)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_page_locked_memory_needs_a_gpu(dataset: gs.Dataset) -> None:
    with pytest.raises(RuntimeError, match="pin_memory=True: torch sees no CUDA device"):
        gs.Loader(dataset, pin_memory=True)


def test_the_loader_takes_what_the_options_are() -> None:
    """One list of names and defaults in two places: a signature to read, and a class to pass on."""
    signature = inspect.signature(gs.Loader).parameters
    assert list(signature)[1:] == NAMES
    plain = LoaderOptions()
    assert {name: signature[name].default for name in NAMES} == {**vars(plain), "crop": None}


def test_options_mean_the_same_when_checked_again() -> None:
    options = LoaderOptions(np.int64(3), crop=np.int32(8), small="constant", fill=(1, 2, 3), output="float16")  # type: ignore[arg-type]
    assert (options.batch_size, options.crop) == (3, (8, 8))
    assert type(options.batch_size) is int
    for again in (replace(options), LoaderOptions(**vars(options)), pickle.loads(pickle.dumps(options))):
        assert again == options
    assert options.pixels() == PixelOptions("float16", "constant", (1, 2, 3), IMAGENET_MEAN, IMAGENET_STD)
    assert options.pixels().as_bytes() == PixelOptions("uint8", "constant", (1, 2, 3))


@pytest.mark.parametrize(("name", "mean", "std"), [("imagenet", 0.485, 0.229), ("clip", 0.48145466, 0.26862954)])
def test_normalisations_by_name(dataset: gs.Dataset, name: Any, mean: float, std: float) -> None:
    options: dict[str, Any] = {"crop": 8, "shuffle": False}
    pixels = next(iter(gs.Loader(dataset, 4, **options))).images[:, 0].double()
    found = next(iter(gs.Loader(dataset, 4, output="float32", normalize=name, **options))).images[:, 0]
    assert torch.equal(found, ((pixels / 255 - mean) / std).float())


def test_half_and_none_are_ranges(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {"crop": 8, "shuffle": False, "output": "float32"}
    none = next(iter(gs.Loader(dataset, 4, normalize="none", **options))).images
    half = next(iter(gs.Loader(dataset, 4, normalize="half", **options))).images
    assert 0 <= none.min() < 0.5 < none.max() <= 1
    assert torch.allclose(half, none * 2 - 1, atol=1e-6)


def test_a_default_that_is_given_is_no_error(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {
        "fill": (0, 0, 0),
        "window": None,
        "pin_memory": False,
        "normalize": None,
        "device": "cpu",
    }
    assert len(next(iter(gs.Loader(dataset, 4, crop=8, **options)))) == 4
