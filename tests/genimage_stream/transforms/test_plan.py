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
from genimage_stream.transforms.step import CoreStep, Sample, Size, Step
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


DRAWN_TOGETHER = [
    T.RandomErasing(p=0.8, scale=(0.02, 0.9), ratio=(0.1, 9.0)),
    T.RandomErasing(p=1.0, scale=(0.0, 0.01), value=(1, 2, 3)),
    T.RandomErasing(p=0.7, value="random", after_normalize=True),
    T.RandomErasing(p=1.0, scale=(0.9, 1.0), after_normalize=True),  # most do not fit
    T.CoarseDropout(num_holes_range=(1, 5), p=0.8),
    T.CoarseDropout(num_holes_range=(2, 2), hole_height_range=(3, 70), hole_width_range=(0.0, 1.0), fill=(9, 8, 7)),
    T.CoarseDropout(p=0.0),
    T.RandomBrightnessContrast(0.4, (-0.9, 2.0), p=0.8),
    T.RandomAffine((-30.0, 200.0)),
    T.RandomAffine(90.0, translate=(0.5, 0.3), shear=(-20.0, 20.0, -5.0, 30.0)),
    T.RandomAffine(0.0, scale=(0.5, 2.0), shear=10.0),
    T.WebP((0, 100)),
    T.CenterZoom(0.7),
    T.Tile(40),
]


@pytest.mark.parametrize("step", DRAWN_TOGETHER, ids=repr)
def test_a_step_draws_for_many_as_for_one(step: Step) -> None:
    n, rng = 40, np.random.default_rng(3)
    sizes = rng.integers(1, 70, (n, 2))
    chances = Chances(11, 2, np.zeros(n, np.int64), lambda: np.arange(n, dtype=np.uint64))
    plan = plan_samples([step], chances, sizes, (np.zeros(n, np.int64), LABELS), (np.zeros(n, np.int64), GENERATORS))
    floats = step.acts_on_floats
    for i, (width, height) in enumerate(sizes.tolist()):
        sample = Sample(chances.of(i), (0,))
        operations = step.plan(sample, 0, Size(width, height)).operations
        image = picture(i, height, width)
        if not floats:
            assert np.array_equal(_core.run_steps(image, plan.lists[i], None), _core.run_steps(image, operations, None))  # type: ignore[arg-type]
            continue
        found, wanted = (np.ones((3, height, width), np.float32) for _ in range(2))
        for one in plan.lists[i]:
            _core.finish_floats(one, found)
        for operation in operations:
            _core.finish_floats(operation, wanted)  # type: ignore[arg-type]
        assert np.array_equal(found, wanted)


def test_every_step_draws_for_many_at_once() -> None:
    """One sample after the other takes 0.2 ms in Python for each step."""
    kinds = [kind for kind in vars(T).values() if isinstance(kind, type) and issubclass(kind, CoreStep)]
    assert len(kinds) > 20
    assert [kind.__name__ for kind in kinds if kind.draw_many is CoreStep.draw_many] == []


@settings(max_examples=40)
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
