"""`Loader(views="whole" | "all")`: images at their own size, all windows of a grid, by decoding and slicing."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.loading.replay import differences, loader_of
from genimage_stream.transforms.degradations import steps_of_degradation
from tests.fixtures.shards import make_dataset

Pixels = npt.NDArray[np.uint8]
CROP = 30  # biggan's images are smaller


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 7)


@pytest.fixture(scope="module")
def dataset(root: Path) -> gs.Dataset:
    return gs.open_dataset(root).select(splits=["val"])


@pytest.fixture(scope="module")
def images(dataset: gs.Dataset) -> list[Pixels]:
    """Decoded one by one; `dataset[i]` takes its time."""
    return [dataset[row].image for row in range(len(dataset))]


def pixels(image: torch.Tensor) -> Pixels:
    return image.numpy().transpose(1, 2, 0)


# -- whole -------------------------------------------------------------------------------------------------------------


def in_order(images: list[Pixels]) -> list[int]:
    return sorted(range(len(images)), key=lambda row: (*images[row].shape[:2], row))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_whole_images_by_size_and_row(dataset: gs.Dataset, images: list[Pixels], batch_size: int) -> None:
    loader = gs.Loader(dataset, batch_size, views="whole")
    seen: list[int] = []
    sizes: list[tuple[int, int]] = []
    for step, batch in enumerate(loader):
        assert (batch.step, batch.view_of) == (step, None)
        assert 0 < len(batch) <= batch_size
        assert batch.labels.tolist() == ["_fake_" in key for key in batch.keys]
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            assert np.array_equal(pixels(image), images[row])
        seen += batch.rows.tolist()
        sizes.append((batch.images.shape[2], batch.images.shape[3]))
    assert seen == in_order(images)
    assert step + 1 == len(loader)
    assert loader.sizes == list(dict.fromkeys(sizes))  # also when only one image has a size
    assert gs.Loader(dataset, 4, crop=(20, 30)).sizes == [(20, 30)]


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (1, 5), (3, 2), (3, 3), (8, 2), (8, 5)])
def test_whole_on_ranks(dataset: gs.Dataset, images: list[Pixels], batch_size: int, world_size: int) -> None:
    """Every rank runs the same number of steps, no sample is missing or repeated, and a step's samples are in order."""
    ranks = [
        list(gs.Loader(dataset, batch_size, views="whole", rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    rows = [row for step in zip(*ranks, strict=True) for batch in step for row in batch.rows.tolist()]
    assert rows == in_order(images)
    empty = [batch.step for batches in ranks for batch in batches if not len(batch)]
    if empty:
        assert set(empty) == {len(ranks[0]) - 1}
        assert batch_size == 1
    for batches in ranks:
        for batch in batches:
            assert batch.images.shape[0] == len(batch)
            for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
                assert np.array_equal(pixels(image), images[row])


def test_a_run_of_whole_images_goes_on(dataset: gs.Dataset) -> None:
    def loader(**more: Any) -> gs.Loader:
        return gs.Loader(dataset, 4, views="whole", degrade="resize:0.5", **more)

    for rank, world_size in ((0, 1), (1, 2), (2, 3)):
        expected = [batch.rows.tolist() for batch in loader(rank=rank, world_size=world_size)]
        for done in range(1, len(expected)):
            first = loader(rank=rank, world_size=world_size)
            running = iter(first)
            assert [next(running).rows.tolist() for _ in range(done)] == expected[:done]
            rest = loader(rank=rank, world_size=world_size)
            rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
            found = list(rest)
            assert [batch.rows.tolist() for batch in found] == expected[done:]
            assert [batch.step for batch in found] == list(range(done, len(expected)))
        others = [loader(rank=other, world_size=4) for other in range(4)]
        for other in others:
            other.load_state_dict(first.state_dict())
        assert len({len(list(other)) for other in others}) == 1
    with pytest.raises(ValueError, match="belongs to another run"):
        gs.Loader(dataset, 4, views="whole", degrade="resize:0.4").load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match="belongs to another run"):
        gs.Loader(dataset, 4, shuffle=False).load_state_dict(first.state_dict())


def test_steps_and_degradations_of_whole_images(dataset: gs.Dataset, images: list[Pixels]) -> None:
    """The last crop gives way; sizes count after the steps, which the index is enough to know."""
    steps = [T.Resize(50), T.CenterCrop(40), T.RandomHorizontalFlip(), T.JPEG((30, 90))]
    loader = gs.Loader(dataset, 5, views="whole", transform=steps, degrade="lowres:60", seed=3)
    seen = set()
    for batch in loader:
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            plain = [*steps_of_degradation("lowres:60"), steps[0], *steps[2:]]
            assert np.array_equal(pixels(image), T.apply(dataset[row].data, plain, seed=3))
            seen.add((row, loader.draws([row])[0][3]["quality"]))
    assert len(seen) == len(dataset)
    assert min(min(size) for size in loader.sizes) == 50
    assert gs.Loader(dataset, 2, views="whole").draws([3, 4]) == [[], []]
    floats = next(iter(gs.Loader(dataset, 2, views="whole", output="float32", normalize="none")))
    assert np.allclose(pixels(floats.images[0]) * 255, images[int(floats.rows[0])], atol=1e-4)


@pytest.mark.parametrize("name", ["aeroblade:eval", "safe:eval", "univfd:eval"])
def test_recipes_evaluate_whole_images(dataset: gs.Dataset, name: str) -> None:
    recipe = gs.recipes.get(name.partition(":")[0])
    loader = gs.Loader(dataset, 5, transform=name, views="whole", output="float32")
    assert sum(len(batch) for batch in loader) == len(dataset)
    if recipe.eval_views == "whole":
        assert not recipe.eval
        assert gs.Loader(dataset, 5, transform=name).options.views == "whole"
    assert (66, 70) in loader.sizes


def test_every_recipe_of_whole_images_runs(dataset: gs.Dataset) -> None:
    names = [name for name in gs.recipes.names() if gs.recipes.get(name).eval_views == "whole"]
    assert len(names) == 4
    for name in names:
        batches = list(gs.Loader(dataset, 16, transform=f"{name}:eval", output="float32"))
        assert sum(map(len, batches)) == len(dataset)


def test_damaged_images_and_lying_sizes(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 3)
    dataset = gs.open_dataset(root).select(splits=["val"])
    facts = dataset[4].facts
    other = io.BytesIO()
    Image.new("RGB", (33, 21)).save(other, "PNG")  # not the size that the index tells
    with open(root / facts["shard"], "r+b") as file:
        file.seek(facts["offset"])
        file.write(other.getvalue()[: facts["size"]].ljust(facts["size"], b"\0"))
    loader = gs.Loader(dataset, 4, views="whole", on_error="skip")
    assert sorted(row for batch in loader for row in batch.rows.tolist()) == [
        row for row in range(len(dataset)) if row != 4
    ]
    with pytest.raises(gs.DecodeError, match="pixels, but the index says"):
        list(gs.Loader(dataset, 4, views="whole", strict=False))


# -- all ---------------------------------------------------------------------------------------------------------------


def grid_of(image: Pixels, stride: int) -> list[Pixels]:
    """All windows by slicing; a small side is padded as CenterCrop's."""
    height, width = (max(side, CROP) for side in image.shape[:2])
    padded = T.apply(image, [T.CenterCrop((height, width))])
    tops, lefts = ([*range(0, side - CROP, stride), side - CROP] for side in (height, width))
    return [padded[y : y + CROP, x : x + CROP] for y in tops for x in lefts]


@pytest.mark.parametrize("stride", [None, 13, CROP])
def test_all_windows_of_each_image(dataset: gs.Dataset, images: list[Pixels], stride: int | None) -> None:
    loader = gs.Loader(dataset, 5, transform=[T.Resize(40), T.CenterCrop(CROP)], views="all", stride=stride, seed=1)
    seen = []
    for batch in loader:
        assert batch.view_of is not None
        assert batch.view_of.dtype == torch.int64
        assert batch.images.shape == (len(batch.view_of), 3, CROP, CROP)
        assert batch["view_of"] is batch.as_dict()["view_of"] is batch.view_of
        for place, row in enumerate(batch.rows.tolist()):
            views = batch.images[batch.view_of == place]
            expected = grid_of(T.apply(images[row], [T.Resize(40)]), stride or CROP)
            assert len(views) == len(expected)
            assert all(np.array_equal(pixels(a), b) for a, b in zip(views, expected, strict=True))
        assert batch.view_of.tolist() == sorted(batch.view_of.tolist())
        seen += batch.rows.tolist()
        copy = pickle.loads(pickle.dumps(batch)).to("cpu")
        assert torch.equal(copy.view_of, batch.view_of)
        assert isinstance(batch.show(3), bytes)
    assert sorted(seen) == list(range(len(dataset)))


def test_all_windows_cover_an_image_and_small_ones_tile(dataset: gs.Dataset, images: list[Pixels]) -> None:
    """Without a transform an image smaller than the crop begins at 0 and repeats, as small="tile"."""
    loader = gs.Loader(dataset, 64, crop=CROP, views="all", stride=(11, 20), shuffle=False)
    (batch,) = loader
    draws = loader.draws(range(len(dataset)))
    assert batch.view_of is not None
    assert len(batch.images) == sum(len(draw[0]["corners"]) for draw in draws)
    for row in range(len(dataset)):
        image = images[row]
        height, width = image.shape[:2]
        tiled = np.tile(image, (2, 2, 1)) if width < CROP else image
        corners = draws[row][0]["corners"]
        for (x, y), view in zip(corners, batch.images[batch.view_of == row], strict=True):
            assert np.array_equal(pixels(view), tiled[y : y + CROP, x : x + CROP])
        shown = np.zeros((max(height, CROP), max(width, CROP)), bool)
        for x, y in corners:
            shown[y : y + CROP, x : x + CROP] = True
        assert shown.all()


def test_later_steps_act_on_each_window_alike(dataset: gs.Dataset) -> None:
    later = [T.RandomHorizontalFlip(), T.JPEG((30, 90))]
    loader = gs.Loader(dataset, 3, transform=[T.CenterCrop(CROP), *later], views="all", degrade="jpeg:50", seed=3)
    batch = next(iter(loader))
    assert batch.view_of is not None
    for place, row in enumerate(batch.rows.tolist()):
        draws = loader.draws([row])[0][2:]
        degraded = T.apply(dataset[row].data, [T.JPEG(50)])
        for view, crop in zip(batch.images[batch.view_of == place], grid_of(degraded, CROP), strict=True):
            assert np.array_equal(pixels(view), T.apply(np.ascontiguousarray(crop), later, draws))


def test_all_windows_resume_and_skip(root: Path, tmp_path: Path) -> None:
    damaged = make_dataset(tmp_path, 3)
    dataset = gs.open_dataset(damaged).select(splits=["val"])
    facts = dataset[4].facts
    with open(damaged / facts["shard"], "r+b") as file:
        file.seek(facts["offset"] + 20)
        file.write(bytes(facts["size"] - 20))

    def loader(**more: Any) -> gs.Loader:
        return gs.Loader(dataset, 4, crop=CROP, views="all", shuffle=False, on_error="skip", **more)

    whole = list(loader())
    assert [row for batch in whole for row in batch.rows.tolist()] == [i for i in range(len(dataset)) if i != 4]
    second = whole[1]
    assert second.view_of is not None
    assert second.view_of.unique().tolist() == [0, 1, 2]
    first = loader()
    next(iter(first))
    rest = loader()
    rest.load_state_dict(first.state_dict())
    assert all(torch.equal(a.images, b.images) for a, b in zip(rest, whole[1:], strict=True))
    with pytest.raises(ValueError, match="belongs to another run"):
        loader(stride=7).load_state_dict(first.state_dict())


def test_scores_are_averaged_by_view(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 5, crop=CROP, views="all", stride=9, output="float32")
    scores = gs.Scores(dataset)
    expected = np.full(len(dataset), np.nan)
    for batch in loader:
        assert batch.view_of is not None
        logits = batch.images.mean((1, 2, 3))
        for place, row in enumerate(batch.rows.tolist()):
            expected[row] = logits[batch.view_of == place].double().sigmoid().mean()
        for wrong in (logits[:-1], logits[:, None].expand(-1, 2)):
            with pytest.raises(ValueError, match=r"samples in \d+ views: "):
                scores.add(batch, wrong, logits=True)
        spoiled = logits.clone()
        spoiled[-1] = float("nan")
        with pytest.raises(ValueError, match=f"^{batch.keys[-1]}: the score is nan"):
            scores.add(batch, spoiled, logits=True)
        scores.add(batch, logits if batch.step % 2 else logits[:, None], logits=True)
    assert np.allclose(scores.gather().of(), expected, atol=1e-12)
    with pytest.raises(ValueError, match="several images per label"):
        gs.collate_dict(batch)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", ["whole", "all"])
def test_receipts_and_workers(dataset: gs.Dataset, views: Any) -> None:
    from torch.utils.data import DataLoader

    options: dict[str, Any] = {"views": views} if views == "whole" else {"views": views, "crop": CROP, "stride": 21}
    for more in ({}, {"transform": [T.CenterCrop(CROP)], "crop": None}):
        loader = gs.Loader(dataset, 4, output="float16", **{**options, **more})
        receipt = json.loads(json.dumps(loader.receipt(2)))
        again = loader_of(receipt)
        assert differences(receipt, again) == []
        assert all(torch.equal(a.images, b.images) for a, b in zip(again, loader, strict=True))
    loader = gs.Loader(dataset, 4, **options)
    workers = DataLoader(loader.as_iterable_dataset(), batch_size=None, num_workers=2)
    assert [batch.keys for batch in workers] == [batch.keys for batch in loader]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": "whole", "crop": 20}, 'crop= beside views="whole"'),
        ({"views": "whole", "flip": True, "small": "resize"}, 'flip= and small= beside views="whole"'),
        ({"views": "whole", "shuffle": "shards"}, "shuffle='shards' has no effect with views=\"whole\""),
        ({"views": "whole", "drop_last": True}, "each size ends with a batch that is not full"),
        ({"views": "whole", "mix": {"label": "equal"}}, "every sample once, in the order of sizes"),
        ({"views": "whole", "degrade": ["jpeg:65", "none"]}, "that takes one degradation at a time"),
        (
            {"views": "whole", "transform": [T.RandomScale((0.5, 1.0))]},
            r"step 0 of the transform, RandomScale.*several",
        ),
        ({"views": "whole", "transform": [T.RandomRotate90()]}, "steps that do not change sizes at random"),
        ({"views": "whole", "degrade": "resize:0.01"}, "an image of .* makes one of 0x0"),
        ({"views": "whole", "stride": 3}, "stride=3 has no effect with views='whole'"),
        ({"views": "whole", "rank": 0, "world_size": 43}, "leaves ranks without any"),
        ({"views": "five", "stride": 3}, "stride=3 has no effect with views='five'"),
        ({"stride": 3}, "stride=3 has no effect with views=None"),
        ({"views": "all", "stride": 0}, r"GridCrop\(stride=0\)"),
        ({"views": "all", "degrade": ["jpeg:65"]}, "that takes one degradation at a time"),
        ({"views": "all", "transform": [T.Resize((30, 30))]}, "the transform has none"),
        ({"views": "all", "transform": [T.RandomCrop(30)], "crop": 20}, "crop= beside transform="),
        ({"views": "all", "transform": [T.RandomCrop(30)]}, "is larger than the image of 24x24"),
        ({"views": "whole", "backend": "dali"}, 'backend="dali"'),
    ],
)
def test_options_that_make_no_sense(dataset: gs.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.Loader(dataset, **options)
