"""`Loader(degrade=, views=)`: each picture is that of `T.apply` with plain steps; torchvision's order of crops."""

from __future__ import annotations

import io
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode.other_formats import decode_for_batch
from genimage_stream.decode.planned import interleaved
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.degradations import steps_of_degradation
from genimage_stream.transforms.plan import plan_samples
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.transforms.references import torchvision

Pixels = npt.NDArray[np.uint8]
CROP = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 4)


@pytest.fixture(scope="module")
def dataset(root: Path) -> gs.Dataset:
    return gs.open_dataset(root).select(splits=["val"])


def ten_crops(image: Pixels, size: int) -> list[Pixels]:
    """As torchvision's TenCrop: five of the image, five of the mirrored one; a small side is padded as CenterCrop's."""
    found = []
    for one in (image, image[:, ::-1]):
        height, width = one.shape[:2]
        padded = T.apply(one, [T.CenterCrop((max(height, size), max(width, size)))])
        h, w = padded.shape[0] - size, padded.shape[1] - size
        for y, x in ((0, 0), (0, w), (h, 0), (h, w), (round(h / 2), round(w / 2))):
            found.append(padded[y : y + size, x : x + size])
    return found


def test_ten_crops_are_torchvisions() -> None:
    from PIL import Image

    v2, _ = torchvision()
    image = np.random.default_rng(0).integers(0, 256, (53, 61, 3), np.uint8)
    for size in (20, 40, 53):
        theirs = v2.TenCrop(size)(Image.fromarray(image))
        assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(ten_crops(image, size), theirs, strict=True))


@pytest.mark.parametrize(("views", "numbers"), [("center", [4]), ("five", range(5)), ("ten", range(10))])
def test_views_of_each_image(dataset: gs.Dataset, views: str, numbers: list[int]) -> None:
    loader = gs.Loader(dataset, 7, shuffle=True, transform=[T.Resize(44), T.RandomCrop(CROP, pad="zeros")], views=views)  # type: ignore[arg-type]
    seen = 0
    for batch in loader:
        assert batch.images.shape == (len(batch), len(numbers), 3, CROP, CROP)
        assert batch.degradations is None
        for row, pictures in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
            expected = ten_crops(T.apply(dataset[row].image, [T.Resize(44)]), CROP)
            for number, picture in zip(numbers, pictures, strict=True):
                assert np.array_equal(picture.transpose(1, 2, 0), expected[number]), (row, number)
            seen += 1
    assert seen == len(dataset)


def test_later_steps_act_on_each_view(dataset: gs.Dataset) -> None:
    later = [T.RandomHorizontalFlip(), T.JPEG((30, 90))]
    loader = gs.Loader(dataset, 5, transform=[T.CenterCrop(CROP), *later], views="five", seed=3)
    batch = next(iter(loader))
    for row, pictures in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
        sample = dataset[row]
        draws = T.draws_of(sample.data, [T.CenterCrop(CROP), *later], seed=3)[1:]
        for picture, crop in zip(pictures, ten_crops(sample.image, CROP)[:5], strict=True):
            assert np.array_equal(picture.transpose(1, 2, 0), T.apply(np.ascontiguousarray(crop), later, draws))


def test_without_a_transform_views_are_of_the_crop(dataset: gs.Dataset) -> None:
    """Small images continue as small="tile" says, from their left and upper edges."""
    for shuffle in (True, False):
        plain = gs.Loader(dataset, 64, crop=CROP, crop_position="center", shuffle=shuffle)
        five = gs.Loader(dataset, 64, crop=CROP, views="five", shuffle=shuffle)
        for one, several in zip(plain, five, strict=True):
            assert one.keys == several.keys
            if not shuffle:  # else a RandomCrop gives way, and the middle follows torchvision's rounding
                assert torch.equal(one.images, several.images[:, 4])


@pytest.mark.parametrize("text", ["jpeg:65", "blur:1+jpeg:50", "resize:0.5", "lowres:50", "noise:0.05", "webp:80"])
def test_a_degradation_comes_first(dataset: gs.Dataset, text: str) -> None:
    steps = [T.RandomCrop(CROP, pad="reflect"), T.RandomHorizontalFlip()]
    loader = gs.Loader(dataset, 9, transform=steps, degrade=text, seed=1)
    for batch in loader:
        assert batch.images.shape == (len(batch), 3, CROP, CROP)
        for row, image in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
            expected = T.apply(dataset[row].data, [*steps_of_degradation(text), *steps], seed=1)
            assert np.array_equal(image.transpose(1, 2, 0), expected)


def test_a_degradation_before_the_loaders_crop_and_flip(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 9, crop=CROP, flip=True, degrade="jpeg:50", seed=2)
    for batch in loader:
        for row, image in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
            steps = [T.JPEG(50), T.RandomCrop(CROP, pad="tile"), T.RandomHorizontalFlip()]
            assert np.array_equal(image.transpose(1, 2, 0), T.apply(dataset[row].data, steps, seed=2))


def test_several_degradations_and_views(dataset: gs.Dataset) -> None:
    names = ["none", "jpeg:65", "lowres:30"]
    alone = {
        name: list(gs.Loader(dataset, 5, crop=CROP, shuffle=False, degrade=name, views="five", output="float32"))
        for name in names
    }
    together = gs.Loader(dataset, 5, crop=CROP, shuffle=False, degrade=names, views="five", output="float32")
    scores = gs.Scores(dataset)
    for step, batch in enumerate(together):
        assert batch.images.shape == (len(batch), 3, 5, 3, CROP, CROP)
        assert batch.degradations == tuple(names)
        for m, name in enumerate(names):
            assert torch.equal(batch.images[:, m], alone[name][step].images)
        assert pickle.loads(pickle.dumps(batch)).degradations == tuple(names)
        p = batch.images.double().mean((3, 4, 5)).sigmoid()
        scores.add(batch, p if step % 2 else p.flatten())
    assert scores.degradations == names
    expected = alone["jpeg:65"][0].images.double().mean((2, 3, 4)).sigmoid().mean(1)
    assert np.allclose(scores.gather().of("jpeg:65")[:5], expected.numpy(), atol=1e-12)
    assert len(scores) == 3 * len(dataset)
    several = gs.Loader(dataset, 5, crop=CROP, degrade=names)
    assert next(iter(several)).images.shape == (5, 3, 3, CROP, CROP)


def test_draws_make_the_pixels_of_each_picture(dataset: gs.Dataset) -> None:
    """One dict per step, whatever a sample's pictures are; the crop has a place for each view."""
    flip, jpeg = T.RandomHorizontalFlip(), T.JPEG((30, 90))
    names = ["none", "resize:0.8", "noise:0.1+jpeg:60"]
    loader = gs.Loader(
        dataset, 3, transform=[jpeg, T.RandomCrop(CROP, pad="zeros"), flip], views="ten", degrade=names, seed=5
    )
    batch = next(iter(loader))
    draws = json.loads(json.dumps(loader.draws(batch.rows.tolist())))
    for row, pictures, (degraded, *rest) in zip(batch.rows.tolist(), batch.images.numpy(), draws, strict=True):
        assert [draw["step"] for draw in rest] == ["JPEG", "ViewCrop", "RandomHorizontalFlip"]
        assert rest[0]["degradations"]["noise:0.1+jpeg:60"] != rest[0]  # a second JPEG draws by another stream
        for name, of_name in zip(names, pictures, strict=True):
            jpeg_draw, crop, flip_draw = (draw.get("degradations", {}).get(name, draw) for draw in rest)
            image = T.apply(dataset[row].data, steps_of_degradation(name), degraded["inner"][name])
            image = T.apply(image, [jpeg], [jpeg_draw])
            for place, picture in zip(crop["views"], of_name, strict=True):
                mirrored = np.ascontiguousarray(image[:, ::-1]) if place["mirrored"] else image
                steps = [T.CenterCrop(CROP), flip]
                expected = T.apply(mirrored, steps, [{"step": "CenterCrop", "applied": True, **place}, flip_draw])
                assert np.array_equal(picture.transpose(1, 2, 0), expected)
    plain = gs.Loader(dataset, 3, crop=CROP, views="center")
    assert [[draw["step"] for draw in one] for one in plain.draws([0, 1])] == [["ViewCrop"]] * 2
    once = gs.Loader(dataset, 3, crop=CROP, degrade=["none", "jpeg:65"], seed=5).draws([4])[0]
    assert once[1] == gs.Loader(dataset, 3, crop=CROP, seed=5).draws([4])[0][0]


def test_several_pictures_decode_once(dataset: gs.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read once; and of formats that Python decodes every call is seen."""
    loader = gs.Loader(dataset, 64, crop=CROP, degrade=["none", "jpeg:65", "blur:1"], views="ten")
    plain = gs.Loader(dataset, 64, crop=CROP)
    for one in (loader, plain):
        assert sum(len(batch) for batch in one) == len(dataset)
    assert loader.stats().bytes == plain.stats().bytes

    calls = []

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return decode_for_batch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["genimage_stream.decode.batch"], "decode_for_batch", counted)
    to = io.BytesIO()
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    Image.fromarray(image).save(to, "BMP")
    zeros = np.zeros(2, np.int64)
    sizes = np.array([[60, 50]] * 2)
    lists = [[T.JPEG(quality), T.CenterCrop(CROP)] for quality in (20, 50, 90)]
    plans = [
        plan_samples(
            steps, Chances(0, 0, zeros, lambda: zeros.astype(np.uint64)), sizes, (zeros, ["real"]), (zeros, ["a"])
        )
        for steps in lists
    ]
    out = np.zeros((6, 3, CROP, CROP), np.uint8)
    decoder = gs.BatchDecoder(2)
    assert [
        error.index for error in decoder.decode_batch([to.getvalue(), b"no image"], out, steps=interleaved(plans))
    ] == [1]
    assert len(calls) == 1
    for picture, steps in zip(out[:3], lists, strict=True):
        assert np.array_equal(picture.transpose(1, 2, 0), T.apply(image, steps))
    assert not out[3:].any()


def test_a_damaged_image_takes_all_its_pictures_along(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 3)
    dataset = gs.open_dataset(root).select(splits=["val"])
    facts = dataset[4].facts
    with open(root / facts["shard"], "r+b") as file:
        file.seek(facts["offset"] + 20)
        file.write(bytes(facts["size"] - 20))
    loader = gs.Loader(dataset, 64, crop=CROP, shuffle=False, views="ten", degrade=["none", "jpeg:50"], on_error="skip")
    (batch,) = loader
    assert len(batch) == len(dataset) - 1
    assert batch.images.shape == (len(batch), 2, 10, 3, CROP, CROP)
    assert 4 not in batch.rows.tolist()
    assert loader.stats().skipped == 1
    sound = dataset.select(where=pc.field("key") != facts["key"])
    (expected,) = gs.Loader(sound, 64, crop=CROP, shuffle=False, views="ten", degrade=["none", "jpeg:50"])
    assert torch.equal(batch.images, expected.images)


def test_states_and_ranks(dataset: gs.Dataset) -> None:
    def loader(**more: object) -> gs.Loader:
        return gs.Loader(dataset, 3, crop=CROP, degrade="blur:1", views="five", seed=4, **more)  # type: ignore[arg-type]

    whole = {key: image for batch in loader() for key, image in zip(batch.keys, batch.images, strict=True)}
    on_ranks = [batch for rank in range(2) for batch in loader(rank=rank, world_size=2)]
    seen = {key: image for batch in on_ranks for key, image in zip(batch.keys, batch.images, strict=True)}
    assert seen.keys() == whole.keys()
    assert all(torch.equal(seen[key], whole[key]) for key in whole)
    first = loader()
    running = iter(first)
    next(running)
    rest = loader()
    rest.load_state_dict(first.state_dict())
    assert [key for batch in rest for key in batch.keys] == [key for batch in running for key in batch.keys]
    other = gs.Loader(dataset, 3, crop=CROP, degrade="blur:2", views="five", seed=4)
    with pytest.raises(ValueError, match="belongs to another run"):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degrade": "jpeg"}, "degradation 'jpeg' is not of the form"),
        ({"degrade": []}, r"degrade=\[\] has no degradation"),
        ({"degrade": 65}, "degrade=65: a text, e.g. 'jpeg:65', or a list"),
        ({"degrade": ["jpeg:65", 3]}, "degradation 3: a text is needed"),
        ({"degrade": ["jpeg:65", "jpeg:65"]}, "has a degradation twice"),
        ({"views": "six"}, "views='six' is not one of 'center', 'five', 'ten', 'all', 'whole'"),
        ({"views": 5}, "views=5 is not one of"),
        ({"views": "five", "transform": [T.Resize((CROP, CROP))]}, "the transform has none"),
        ({"views": "five", "small": "reflect"}, "small='reflect' beside degrade= or views="),
        ({"degrade": "jpeg:5", "small": "constant"}, "small='constant' beside degrade= or views="),
        ({"degrade": "lowres:30", "transform": [T.JPEG(65)]}, "the images of a batch have one size"),
    ],
)
def test_options_that_make_no_sense(dataset: gs.Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.Loader(dataset, **options)  # type: ignore[arg-type]
