"""Steps on encoded images, in batches: only what the window needs is decoded, with the pixels of the whole image."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import PartialBytes, PlannedSteps, _core
from genimage_stream.decode.planned import interleaved
from genimage_stream.storage.segments import SegmentTable
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.plan import plan_samples
from genimage_stream.transforms.step import Step
from tests.genimage_stream.transforms.references import SEEDS, picture
from tests.genimage_stream.transforms.test_steps import ANY_STEP

HEIGHT, WIDTH = 203, 245
KINDS = ("jpeg", "progressive", "gray", "png", "palette", "jpeg for crops", "png for crops", "webp")


@cache
def encoded(kind: str) -> bytes:
    image = Image.fromarray(picture(7, HEIGHT, WIDTH))
    to = io.BytesIO()
    if kind.startswith("jpeg") or kind == "progressive":
        image.save(to, "JPEG", quality=90, progressive=kind == "progressive")
    elif kind == "gray":
        image.convert("L").save(to, "JPEG", quality=80)
    elif kind == "webp":
        image.save(to, "WEBP", quality=90)
    else:
        (image.quantize(64) if kind == "palette" else image).save(to, "PNG")
    if not kind.endswith("crops"):
        return to.getvalue()
    ready = gs.make_crop_ready(to.getvalue())
    assert ready is not None
    return ready


def planned(steps: list[Step], seed: int, n: int) -> PlannedSteps:
    zeros = np.zeros(n, np.int64)
    chances = Chances(seed, 0, zeros, lambda: np.arange(n, dtype=np.uint64))
    return plan_samples(steps, chances, np.tile([WIDTH, HEIGHT], (n, 1)), (zeros, ["real"]), (zeros, ["adm"]))


def wanted(data: bytes, steps: list[Step], seed: int, identity: int) -> np.ndarray:
    sha = identity.to_bytes(8, "big")
    return T.apply(data, steps, seed=seed, sha256=sha, label="real", generator="adm").transpose(2, 0, 1)


@settings(max_examples=60)
@given(SEEDS, st.lists(ANY_STEP, max_size=4), st.integers(1, 40), st.integers(1, 40))
def test_random_lists_equal_the_whole_image_first(seed: int, before: list[Step], height: int, width: int) -> None:
    steps = [*before, T.RandomCrop((height, width), pad="reflect"), T.RandomHorizontalFlip()]
    sources = [encoded(kind) for kind in KINDS]
    plan = planned(steps, seed, len(sources))
    out = np.zeros((len(sources), 3, height, width), np.uint8)
    failed = {error.index: error.message for error in gs.decode_batch(sources, out, steps=plan, threads=2)}
    for i, data in enumerate(sources):
        try:
            image = wanted(data, steps, seed, i)
        except ValueError as error:
            assume("cannot be made" in str(error))
            assert i in failed
            continue
        assert i not in failed
        assert np.array_equal(out[i], image), KINDS[i]


@settings(max_examples=40)
@given(SEEDS, st.lists(ANY_STEP, max_size=3))
def test_the_parts_that_are_fetched_are_enough(seed: int, before: list[Step]) -> None:
    """A store gives the bands of a crop-ready PNG that `needed` asks for: the decoder never asks for the rest."""
    steps = [*before, T.RandomCrop(9, pad="reflect")]
    data = encoded("png for crops")
    plan = planned(steps, seed, 1)
    segments = _core.png_segments(data)
    assert segments is not None
    table = SegmentTable(np.array([0, len(segments)]), np.array(segments, np.int32))
    tops, heights = plan.rows_needed()
    head, begin, end = table.needed(np.array([0]), np.array([len(data)]), tops, heights)[0]

    def whole() -> bytes:
        raise OSError("not all that is needed was fetched")

    part: Any = data if head >= len(data) else PartialBytes(len(data), data[:head], data[begin:end], begin, whole)
    out = np.zeros((1, 3, 9, 9), np.uint8)
    try:
        image = wanted(data, steps, seed, 0)
    except ValueError:
        assert gs.decode_batch([part], out, steps=plan)
        return
    assert not gs.decode_batch([part], out, steps=plan)
    assert np.array_equal(out[0], image)


def test_the_rows_that_several_pictures_need() -> None:
    """From the first row that one of them needs to the last."""
    windows = [(3, 2), (9, 11)]  # height of the crop, and rows above it
    plans = [planned([T.CenterCrop((HEIGHT - 2 * top, WIDTH)), T.CenterCrop((high, 5))], 0, 2) for high, top in windows]
    alone = [plan.rows_needed() for plan in plans]
    tops, heights = interleaved(plans).rows_needed()
    for i in range(2):
        needed = [range(top[i], top[i] + height[i]) for top, height in alone]
        assert tops[i] == min(one.start for one in needed)
        assert tops[i] + heights[i] == max(one.stop for one in needed)
    assert interleaved(plans).part(1, 2).lists == interleaved(plans).lists[2:]


def test_damage_outside_of_what_is_needed_is_not_looked_at() -> None:
    data = bytearray(encoded("png for crops"))
    data[-200:-100] = bytes(100)
    plan = planned([T.JPEG(70), T.CenterCrop((10, WIDTH)), T.CenterCrop(8)], 0, 1)
    out = np.zeros((1, 3, 8, 8), np.uint8)
    assert not gs.decode_batch([bytes(data)], out, steps=plan)
    whole = planned(
        [T.ColorJitter(contrast=(0.5, 0.5)), T.CenterCrop(8)], 0, 1
    )  # contrast needs the mean of all pixels
    [error] = gs.decode_batch([bytes(data)], out, steps=whole)
    assert error.kind == "decode"
    assert not out.any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either crops or steps"),
        ({"crops": [[0, 0]], "steps": True}, "either crops or steps"),
        ({"flips": [1], "steps": True}, "go with crops"),
        ({"resized": [[9, 9]], "steps": True}, "go with crops"),
        ({"small": "reflect", "steps": True}, "go with crops"),
        ({"resample": "bicubic", "steps": True}, "go with crops"),
    ],
)
def test_steps_say_all_of_the_geometry(options: dict[str, Any], said: str) -> None:
    if "steps" in options:
        options = {**options, "steps": planned([T.CenterCrop(8)], 0, 1)}
    with pytest.raises(ValueError, match=said):
        gs.decode_batch([encoded("png")], np.zeros((1, 3, 8, 8), np.uint8), **options)


def test_steps_that_end_with_another_size_are_an_error_of_the_image() -> None:
    out = np.ones((1, 3, 9, 8), np.uint8)
    [error] = gs.decode_batch([encoded("png")], out, steps=planned([T.CenterCrop(8)], 0, 1))
    assert "end with an image of 8x8, not 8x9" in error.message
    assert not out.any()
