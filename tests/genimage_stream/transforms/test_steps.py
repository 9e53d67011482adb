"""Lists of steps: windows, draws, chance, combinators, JSON, errors."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import _core
from genimage_stream.order.philox import philox4x32
from genimage_stream.transforms.chance import Chance
from genimage_stream.transforms.step import Image, Sample, Size, Step, ordinals_of
from tests.genimage_stream.transforms.references import SEEDS, SIDES, picture

ANY = settings(max_examples=150)


def halve(image: Image, rng: np.random.Generator) -> Image:
    return image // 2


def quartered(image: Image, rng: np.random.Generator) -> Image:
    return image[:4, :6]


def noisy(image: Image, rng: np.random.Generator) -> Image:
    return image ^ rng.integers(0, 256, image.shape, dtype=np.uint8)


QUALITIES = st.integers(1, 100)
FACTORS = st.floats(0.5, 1.5)
CORE_STEPS: list[st.SearchStrategy[Step]] = [
    st.builds(
        T.Resize, st.integers(4, 90), st.sampled_from(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
    ),
    st.builds(T.RandomScale, FACTORS, st.sampled_from(["pillow", "cv2"])),
    st.builds(T.CenterCrop, st.integers(1, 90), st.sampled_from(["zeros", "reflect", "symmetric", "tile"])),
    st.builds(T.RandomCrop, st.integers(1, 90), st.sampled_from(["zeros", "reflect", "symmetric", "tile"])),
    st.builds(T.RandomResizedCrop, st.integers(1, 60)),
    st.builds(T.Tile, st.integers(1, 90)),
    st.builds(lambda side: T.Resize(side, like="cv2"), st.integers(4, 90)),
    st.builds(T.RandomHorizontalFlip),
    st.builds(T.RandomVerticalFlip),
    st.builds(T.RandomRotate90),
    st.builds(T.RandomRotation, st.floats(0, 180)),
    st.builds(T.RandomAffine, st.floats(0, 180), st.just((0.2, 0.1)), st.just((0.7, 1.4)), st.floats(0, 30)),
    st.builds(T.JPEG, QUALITIES, st.sampled_from(["rgb", "bgr"]), st.sampled_from(["420", "422", "444"])),
    st.builds(T.GaussianBlur, st.floats(0, 3)),
    st.builds(lambda s: T.GaussianBlur(s, like="cv2"), st.floats(0.1, 3)),
    st.builds(T.GaussianNoise, st.floats(0, 0.2)),
    st.builds(T.RandomGrayscale, st.floats(0, 1), st.sampled_from(["pillow", "cv2"])),
    st.builds(T.ColorJitter, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5)),
    st.builds(T.RandomBrightnessContrast),
    st.builds(T.RandomErasing),
    st.builds(T.CoarseDropout),
    st.builds(T.PatchMask, st.integers(2, 20)),
    st.builds(T.TexturePatches, st.sampled_from(["ssp", "patchcraft"]), st.just(8), st.just(20), st.just(4)),
]
STEP = st.one_of(CORE_STEPS)
ANY_STEP = st.one_of(
    STEP,
    st.builds(T.RandomApply, st.lists(STEP, min_size=1, max_size=3)),
    st.builds(T.RandomChoice, st.lists(STEP, min_size=1, max_size=3)),
    st.builds(T.RandomOrder, st.lists(STEP, min_size=1, max_size=3)),
    st.builds(T.OnlyIf, STEP, st.sampled_from([None, "real", "fake"])),
    st.just(T.Map(halve)),
)
LISTS = st.lists(ANY_STEP, max_size=5)


def scaled_to_nothing(error: ValueError) -> bool:
    """Whether a list of steps is impossible: a crop of few pixels, halved once more, as RandomScale truncates."""
    found = re.search(r"an image of (\d+)x(\d+) pixels cannot be made", str(error))
    return found is not None and "0" in found.groups()


@ANY
@given(SEEDS, SIDES, SIDES, st.lists(STEP, min_size=1, max_size=5), st.data())
def test_a_window_equals_the_whole_cut_to_it(
    seed: int, height: int, width: int, steps: list[Step], data: st.DataObject
) -> None:
    image = picture(seed, max(height, 4), max(width, 4))
    size = Size(image.shape[1], image.shape[0])
    sample = Sample(Chance(seed, 0, 0, bytes(8)), ordinals_of(steps))
    operations: list[_core.Step] = []
    for place, step in enumerate(steps):
        try:
            planned = step.plan(sample, place, size)
        except ValueError as error:
            assert scaled_to_nothing(error)  # noqa: PT017
            return
        operations += [operation for operation in planned.operations if isinstance(operation, _core.Step)]
        size = planned.size
    whole = _core.run_steps(image, operations, None)
    assert whole.shape == (size.height, size.width, 3)
    x, y = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    w, h = data.draw(st.integers(1, size.width - x)), data.draw(st.integers(1, size.height - y))
    assert np.array_equal(_core.run_steps(image, operations, (x, y, w, h)), whole[y : y + h, x : x + w])


@ANY
@given(SEEDS, SIDES, SIDES, LISTS)
def test_draws_repeat_the_sample(seed: int, height: int, width: int, steps: list[Step]) -> None:
    image = picture(seed, max(height, 4), max(width, 4))
    try:
        draws = T.draws_of(image, steps, seed=seed, label="real")
    except ValueError as error:
        assert scaled_to_nothing(error)  # noqa: PT017
        with pytest.raises(ValueError, match=r"step \d of the transform, .*RandomScale.* cannot be made"):
            T.apply(image, steps, seed=seed, label="real")
        return
    assert [draw["step"] for draw in draws] == [type(step).__name__ for step in steps]
    assert all(isinstance(draw["applied"], bool) for draw in draws)
    found = T.apply(image, steps, seed=seed, label="real")
    again = T.apply(image, steps, json.loads(json.dumps(draws)))
    assert np.array_equal(found, again)


@ANY
@given(LISTS)
def test_json_gives_equal_steps_back(steps: list[Step]) -> None:
    again = T.from_json(T.to_json(steps))
    assert again == steps
    assert [hash(step) for step in again] == [hash(step) for step in steps]
    assert repr(again) == repr(steps)


ODD_JSON = ["{}", "[3]", '[{"Nothing": {}}]', "[{}]", '[{"JPEG": 3}]', '[{"_Combined": {}}]', '[{"CoreStep": {}}]']
ODD_JSON += ['[{"Resize": {"sise": 3}}]', '[{"RandomApply": {}}]', '[{"Map": {}}]', '[{"Map": {"name": "no:thing"}}]']
ODD_JSON += ["[" * 100_000]


@pytest.mark.parametrize("text", ODD_JSON, ids=[text[:30] for text in ODD_JSON])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"step|transform|imported"):
        T.from_json(text)


def test_chance_depends_on_everything_it_is_keyed_by() -> None:
    image = picture(0, 40, 40)
    sha = "00112233445566778899aabbccddeeff"
    base: dict[str, Any] = {"seed": 1, "epoch": 2, "visit": 3, "sha256": sha}
    steps = [T.RandomCrop(2)]

    def corners(**changed: Any) -> list[tuple[int, int]]:
        drawn = T.draws_of(image, steps * 6, **(base | changed))
        return [(draw["x"], draw["y"]) for draw in T.draws_of(image, [T.RandomRotation(9), *steps], **base)[1:]] + [
            (draw["x"], draw["y"]) for draw in drawn[:1]
        ]

    other = [corners(seed=9)[1], corners(epoch=9)[1], corners(visit=9)[1], corners(sha256="ff" + sha[2:])[1]]
    assert len({*other, corners()[1]}) == 5
    assert corners(sha256=sha[:16] + "0" * 16) == corners()  # the first 8 bytes count
    first, alone = corners()
    assert first == alone  # another step before it changes nothing


def test_steps_of_one_name_have_streams_of_their_own_by_their_ordinal() -> None:
    image = picture(0, 5, 5)
    turn = T.RandomRotation(180)
    flat = T.draws_of(image, [turn, turn, turn])
    nested = T.draws_of(image, [T.RandomApply([turn, turn], p=1.0), turn])
    assert [*nested[0]["inner"], nested[1]] == flat
    assert T.draws_of(image, [T.RandomApply([turn, turn], p=0.0), turn])[1] == flat[2]  # what is skipped counts
    assert T.draws_of(image, [T.RandomChoice([turn, turn]), turn])[1] == flat[2]
    assert len({draw["angle"] for draw in flat}) == 3


@given(st.tuples(*[st.integers(0, (1 << 32) - 1)] * 2), st.tuples(*[st.integers(0, (1 << 32) - 1)] * 4))
def test_the_cores_philox_is_that_of_the_order(key: tuple[int, int], counter: tuple[int, int, int, int]) -> None:
    assert _core.philox(key, counter) == philox4x32([[word] for word in counter], key)[:, 0].tolist()


def test_random_apply_happens_as_often_as_it_says() -> None:
    image = picture(0, 4, 4)
    steps = [T.RandomApply(T.RandomHorizontalFlip(1.0), p=0.3)]
    count = sum(T.draws_of(image, steps, seed=seed)[0]["applied"] for seed in range(1000))
    assert 250 < count < 350


def test_random_choice_follows_its_weights() -> None:
    image = picture(0, 4, 4)
    steps = [T.RandomChoice([T.JPEG(10), T.JPEG(20), T.JPEG(30)], p=(1, 0, 3))]
    chosen = [T.draws_of(image, steps, seed=seed)[0]["chosen"] for seed in range(1000)]
    assert chosen.count(1) == 0
    assert 200 < chosen.count(0) < 300


def test_random_order_takes_all_orders() -> None:
    image = picture(0, 4, 4)
    steps = [T.RandomOrder([T.JPEG(10), T.JPEG(20), T.JPEG(30)])]
    assert len({tuple(T.draws_of(image, steps, seed=seed)[0]["order"]) for seed in range(100)}) == 6


def test_only_if_asks_for_label_and_generator() -> None:
    image = picture(0, 4, 4)
    steps = [T.OnlyIf(T.JPEG(5), label="fake", generators=["sd14", "glide"])]

    def applied(label: str, generator: str) -> bool:
        return bool(T.draws_of(image, steps, label=label, generator=generator)[0]["applied"])

    assert applied("fake", "glide")
    assert not applied("real", "glide")
    assert not applied("fake", "biggan")
    with pytest.raises(ValueError, match=r"step 0 of the transform, OnlyIf.*pass label="):
        T.apply(image, steps)


def test_map_gets_a_generator_of_its_own() -> None:
    image = picture(0, 6, 7)
    first = T.apply(image, [T.Map(noisy), T.Map(noisy)], seed=1)
    assert np.array_equal(first, T.apply(image, [T.Map(noisy), T.Map(noisy)], seed=1))
    assert not np.array_equal(first, image)  # two different generators
    assert not np.array_equal(first, T.apply(image, [T.Map(noisy), T.Map(noisy)], seed=2))


def test_map_is_known_by_name_and_version() -> None:
    assert T.Map(halve) == T.Map(halve)
    assert T.Map(halve) != T.Map(noisy)
    assert T.Map(halve) != T.Map(halve, version=1)
    assert T.Map(lambda image, rng: image, name="same") == T.Map(lambda image, rng: image, name="same")
    with pytest.raises(ValueError, match="needs a name"):
        T.Map(lambda image, rng: image)
    with pytest.raises(ValueError, match="construct it from the function"):
        T.from_json(T.to_json([T.Map(lambda image, rng: image, name="same")]))


def test_a_map_may_change_the_size_when_it_says_so() -> None:
    image = picture(0, 6, 7)
    steps = [T.Map(quartered, size=(4, 6)), T.CenterCrop(3)]
    assert T.from_json(T.to_json(steps)) == steps
    assert np.array_equal(T.apply(image, steps), T.apply(image[:4, :6], [T.CenterCrop(3)]))
    with pytest.raises(ValueError, match=r"quartered returned uint8 \(4, 6, 3\); uint8 \(4, 5, 3\) is needed"):
        T.apply(image, [T.Map(quartered, size=(4, 5))])


@pytest.mark.parametrize("wrong", [lambda i, r: i[1:], lambda i, r: i.astype(float), lambda i, r: None])
def test_a_map_that_returns_something_else_is_an_error(wrong: Any) -> None:
    said = r"step 1 of the transform, Map\(name='my function'.*my function returned .*uint8 \(6, 7, 3\) is needed"
    with pytest.raises(ValueError, match=said):
        T.apply(picture(0, 6, 7), [T.JPEG(), T.Map(wrong, name="my function")])


def test_a_map_that_raises_names_the_step_and_its_place() -> None:
    def broken(image: Any, rng: Any) -> Any:
        raise KeyError("nothing there")

    steps = [T.JPEG(), T.RandomApply(T.Map(broken, name="my function"), p=1)]
    with pytest.raises(
        ValueError, match=r"step 1 of the transform, RandomApply\(.*: KeyError: 'nothing there'"
    ) as raised:
        T.apply(picture(0, 6, 7), steps)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("draws", "wanted"),
    [
        ([], "0 entries for 1 steps"),
        ([{"step": "Resize", "applied": True}], r"step 0 of the transform, JPEG.*\"step\": \"JPEG\""),
        ([{"step": "JPEG"}], "applied"),
        ([{"step": "JPEG", "applied": True}], "lacks 'quality'"),
        ([{"step": "JPEG", "applied": True, "quality": 0, "chroma": "420"}], "quality=0"),
    ],
)
def test_draws_that_do_not_fit_are_refused(draws: list[Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        T.apply(picture(0, 6, 7), [T.JPEG()], draws)


@pytest.mark.parametrize("step", [T.RandomCrop(3), T.RandomResizedCrop(3)])
def test_windows_drawn_for_a_larger_image_are_refused(step: Step) -> None:
    drawn = {"step": type(step).__name__, "applied": True, "x": 5, "y": 0, "width": 3, "height": 3}
    with pytest.raises(ValueError, match=r"step 0 .*: the window of 3x3 drawn at \(5, 0\) is not inside .* 7x6"):
        T.apply(picture(0, 6, 7), [step], [drawn])


def test_encoded_images_are_keyed_by_their_bytes() -> None:
    import hashlib
    import io

    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(picture(0, 30, 40)).save(file, "PNG")
    steps = [T.RandomCrop(5)]
    data = file.getvalue()
    by_sha = T.apply(picture(0, 30, 40), steps, sha256=hashlib.sha256(data).hexdigest())
    assert np.array_equal(T.apply(data, steps), by_sha)


@pytest.mark.parametrize(
    "image", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        T.apply(image, [])


def test_something_that_is_no_step_is_refused() -> None:
    with pytest.raises(TypeError, match="entry 1 of the transform"):
        T.apply(picture(0, 4, 4), [T.JPEG(), "JPEG"])  # type: ignore[list-item]


@pytest.mark.parametrize("steps", [T.JPEG(), "univfd"])
def test_something_that_is_no_list_is_refused(steps: Any) -> None:
    for call in (T.apply, T.draws_of):
        with pytest.raises(TypeError, match="a list of steps is needed"):
            call(picture(0, 4, 4), steps)


@pytest.mark.parametrize(("sha256", "said"), [("z" * 64, "not made of hex digits"), ("ab", "fewer than 16 hex digits")])
def test_hashes_that_cannot_be(sha256: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        T.apply(picture(0, 4, 4), [T.JPEG()], sha256=sha256)
