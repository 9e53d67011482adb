"""Many samples at once: the same draws as one by one, and what is known of their sizes beforehand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import _core
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.kernels import scipy_weights, scipy_weights_of_many
from genimage_stream.transforms.plan import output_size, plan_samples
from genimage_stream.transforms.step import Size, Step
from tests.genimage_stream.transforms.references import SEEDS, picture
from tests.genimage_stream.transforms.test_steps import ANY, ANY_STEP, STEP

LABELS, GENERATORS = ("fake", "real"), ("adm", "sd14")
SIZES = st.lists(st.tuples(st.integers(8, 60), st.integers(8, 60)), min_size=1, max_size=5)


@ANY
@given(SEEDS, SIZES, st.lists(ANY_STEP, min_size=1, max_size=4))
def test_many_draw_as_one_by_one(seed: int, sizes: list[tuple[int, int]], steps: list[Step]) -> None:
    n = len(sizes)
    rng = np.random.default_rng(seed)
    shas = [rng.bytes(32) for _ in range(n)]
    identities = np.array([int.from_bytes(sha[:8], "big") for sha in shas], np.uint64)
    visits, labels, generators = (rng.integers(0, 2, n) for _ in range(3))
    chances = Chances(seed, 7, visits, lambda: identities)
    plan = plan_samples(steps, chances, np.array(sizes), (labels, LABELS), (generators, GENERATORS))
    assert plan.sizes.tolist() == [list(size) for size in sizes]
    for i, (width, height) in enumerate(sizes):
        image = picture(seed + i, height, width)
        known: dict[str, Any] = {"seed": seed, "epoch": 7, "visit": int(visits[i]), "sha256": shas[i]}
        known |= {"label": LABELS[labels[i]], "generator": GENERATORS[generators[i]]}
        try:
            wanted = T.apply(image, steps, **known)
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                _core.run_steps(image, plan.lists[i], None)
            continue
        assert np.array_equal(_core.run_steps(image, plan.lists[i], None), wanted)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_blocks_of_words_are_the_words(counts: list[int]) -> None:
    chances = Chances(5, 1, np.arange(3), lambda: np.arange(3, dtype=np.uint64))
    streams, blocks = chances.streams("JPEG", 0), chances.streams("JPEG", 0)
    for count in counts:
        block = blocks.block(count)
        assert block.shape == (count, 3)
        for words in [*block, blocks.words()]:
            assert words.tolist() == streams.words().tolist()
    for which in range(3):
        stream = chances.of(which).stream("JPEG", 0)
        assert stream.word() == chances.streams("JPEG", 0).words()[which]


@ANY
@given(st.lists(st.floats(0, 12), min_size=1, max_size=20))
def test_kernels_of_many_are_those_of_each(sigmas: list[float]) -> None:
    assert scipy_weights_of_many(np.array(sigmas)) == [scipy_weights(sigma) for sigma in sigmas]


@ANY
@given(SEEDS, st.tuples(st.integers(8, 60), st.integers(8, 60)), st.lists(st.one_of(STEP, ANY_STEP), max_size=4))
def test_sizes_are_known_beforehand(seed: int, size: tuple[int, int], steps: list[Step]) -> None:
    sizes: frozenset[Size] | None = frozenset([Size(*size)])
    try:
        for step in steps:
            sizes = step.sizes_after(sizes)
        found = T.apply(picture(seed, size[1], size[0]), steps, seed=seed, label="real")
    except ValueError:
        return
    if sizes is not None:
        assert Size(found.shape[1], found.shape[0]) in sizes


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([T.RandomCrop((20, 30))], (30, 20)),
        ([T.Resize((20, 30)), T.JPEG(), T.GaussianBlur(1.0)], (30, 20)),
        ([T.RandomResizedCrop(9), T.RandomRotate90(), T.Map(lambda image, rng: image, name="same")], (9, 9)),
        ([T.RandomScale((0.5, 2)), T.CenterCrop(9)], (9, 9)),
        ([T.RandomChoice([T.CenterCrop(9), T.RandomCrop(9)])], (9, 9)),
        ([T.TexturePatches("patchcraft", patch=8, kept=4)], (16, 32)),
    ],
)
def test_one_size_follows(steps: list[Step], size: tuple[int, int]) -> None:
    assert output_size(steps, None) == size


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([T.JPEG()], r"after step 0 of the transform, JPEG\(.* theirs differ: add a crop"),
        ([T.CenterCrop(9), T.RandomScale((0.5, 1))], "after step 1 of the transform, RandomScale"),
        ([T.CenterCrop((8, 9)), T.RandomRotate90()], "theirs differ, e.g. 8x9 and 9x8"),
        ([T.CenterCrop(9), T.RandomApply(T.Resize(8))], "theirs differ, e.g. 8x8 and 9x9"),
        (
            [T.Resize((8, 9)), T.JPEG(), T.RandomCrop(9)],
            r"step 2 .*RandomCrop.* larger than the image of 9x8",
        ),
        (
            [T.RandomOrder([T.CenterCrop(8), T.RandomCrop(9)])],
            r"step 0 .*RandomOrder.*of 9x9 is larger",
        ),
    ],
)
def test_lists_that_do_not_end_in_one_size_are_refused(steps: list[Step], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        output_size(steps, None)


def test_an_image_without_a_size_fails_alone() -> None:
    zeros = np.zeros(2, np.int64)
    chances = Chances(0, 0, zeros, lambda: zeros.astype(np.uint64))
    plan = plan_samples([T.CenterCrop(4)], chances, np.array([[-1, -1], [9, 9]]), (zeros, LABELS), (zeros, GENERATORS))
    assert _core.run_steps(picture(0, 9, 9), plan.lists[1], None).shape == (4, 4, 3)
    with pytest.raises(ValueError, match="no size"):
        _core.run_steps(picture(0, 9, 9), plan.lists[0], None)
