"""`Loader(transform=...)`: the pixels of `T.apply`, chance that belongs to the image, errors that name the step."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from tests.fixtures.shards import edit_index, make_dataset
from tests.genimage_stream.transforms.references import normals_by_rule


def invert(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return 255 - image


def noisy(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return image ^ rng.integers(0, 256, image.shape, dtype=np.uint8)


def quartered(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return np.resize(image, (20, 30, 3))


CNNSPOT = [
    T.Resize(60),
    T.RandomApply(T.GaussianBlur((0.0, 3.0)), p=0.5),
    T.RandomApply(T.JPEG((30, 100)), p=0.5),
    T.RandomCrop(48, pad="zeros"),
    T.RandomHorizontalFlip(),
]
EVERYTHING = [
    T.RandomOrder([T.RandomScale((0.5, 2.0)), T.RandomRotation(30), T.RandomVerticalFlip()]),
    T.RandomChoice([T.GaussianNoise(), T.ColorJitter(0.4, 0.4, 0.4, 0.1), T.RandomGrayscale()]),
    T.OnlyIf(T.JPEG((50, 90), chroma="444"), label="fake", generators=["SD14", "adm"]),
    T.Map(noisy),
    T.RandomResizedCrop(32),
    T.RandomErasing(),
    T.Map(lambda image, rng: noisy(image // 2, rng), name="halves"),
    T.PatchMask(8),
]
TRANSFORMS = [
    CNNSPOT,
    EVERYTHING,
    [T.CenterCrop(40), T.GaussianBlur(1.0, 5, like="cv2"), T.RandomRotate90()],
    [T.RandomCrop(40, pad="tile"), T.RandomHorizontalFlip(0.7)],
    [T.CenterCrop(20)],
    [T.CenterCrop((21, 18), rounding="floor"), T.RandomHorizontalFlip(1.0)],
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


@pytest.fixture(scope="module")
def dataset(root: Path) -> gs.Dataset:
    return gs.open_dataset(root)


def samples(dataset: gs.Dataset) -> list[dict[str, Any]]:
    """The rows of the index, each with its bytes."""
    found: list[dict[str, Any]] = dataset.table().to_pylist()
    for row in found:
        with (Path(dataset.path) / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            row["data"] = file.read(row["size"])
    return found


def by_key(loader: gs.Loader) -> dict[str, bytes]:
    """The images of one epoch."""
    return {
        key: image.numpy().tobytes() for batch in loader for key, image in zip(batch.keys, batch.images, strict=True)
    }


@pytest.mark.parametrize("steps", TRANSFORMS, ids=range(len(TRANSFORMS)))
def test_the_loader_gives_what_apply_gives_with_its_draws(dataset: gs.Dataset, steps: list[T.Step]) -> None:
    part = dataset.select(splits=["train"], generators=["adm", "sd14"])
    rows = samples(part)
    loader = gs.Loader(part, 5, transform=steps, seed=4, threads=2)
    for epoch in range(2):
        for batch in loader:
            draws = json.loads(json.dumps(loader.draws(batch.rows.tolist(), epoch=epoch)))
            for row, image, drawn in zip(batch.rows.tolist(), batch.images, draws, strict=True):
                assert [one["step"] for one in drawn] == [type(step).__name__ for step in steps]
                pixels = image.numpy().transpose(1, 2, 0)
                about = rows[row]
                assert np.array_equal(T.apply(about["data"], steps, drawn), pixels)
                if steps is EVERYTHING:
                    continue  # whose OnlyIf names a generator by another name
                known = {"label": about["label"], "generator": about["generator"], "sha256": about["sha256"]}
                assert np.array_equal(T.apply(about["data"], steps, seed=4, epoch=epoch, **known), pixels)


def test_floats_are_those_of_the_bytes(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {"transform": CNNSPOT, "shuffle": False}
    pixels = next(iter(gs.Loader(dataset, 8, **options))).images
    for output in ("float32", "float16"):
        floats = next(iter(gs.Loader(dataset, 8, output=output, normalize="half", **options))).images
        wanted = ((pixels.double() / 255 - 0.5) / 0.5).float()
        assert torch.equal(floats, wanted.to(floats.dtype))


def test_crop_and_flip_draw_as_the_steps_do(dataset: gs.Dataset) -> None:
    short = gs.Loader(dataset, 8, crop=48, flip=True, seed=9)
    steps = gs.Loader(dataset, 8, transform=[T.RandomCrop(48, pad="tile"), T.RandomHorizontalFlip()], seed=9)
    rows = list(range(len(dataset)))
    for one, other in zip(short.draws(rows, epoch=3), steps.draws(rows, epoch=3), strict=True):
        assert [one[0]["x"], one[0]["y"], one[1]] == [other[0]["x"], other[0]["y"], other[1]]
    assert by_key(short) == by_key(steps)


@pytest.mark.parametrize("steps", [CNNSPOT, EVERYTHING], ids=["cnnspot", "everything"])
def test_threads_ranks_batches_and_selections_change_no_pixel(dataset: gs.Dataset, steps: list[T.Step]) -> None:
    whole = by_key(gs.Loader(dataset, 7, transform=steps, seed=1, threads=1))
    assert by_key(gs.Loader(dataset, 20, transform=steps, seed=1, threads=3, prefetch=4)) == whole
    parts = [by_key(gs.Loader(dataset, 4, transform=steps, seed=1, rank=rank, world_size=3)) for rank in range(3)]
    assert {key: image for part in parts for key, image in part.items()} == whole
    some = by_key(gs.Loader(dataset.select(generators=["sd14"]), 4, transform=steps, seed=1))
    assert some == {key: whole[key] for key in some}
    assert by_key(gs.Loader(dataset, 7, transform=steps, seed=2)) != whole


def test_a_resumed_run_goes_on_with_another_world_size(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {"transform": EVERYTHING, "seed": 1}
    whole = list(by_key(gs.Loader(dataset, 6, **options)).items())
    first = gs.Loader(dataset, 6, **options)
    running = iter(first)
    for _ in range(5):
        next(running)
    state = json.loads(json.dumps(first.state_dict()))
    ranks = [gs.Loader(dataset, 3, rank=rank, world_size=2, **options) for rank in range(2)]
    for loader in ranks:
        loader.load_state_dict(state)
    rest = []
    for batches in zip(*ranks, strict=True):
        for batch in batches:
            rest += [(key, image.numpy().tobytes()) for key, image in zip(batch.keys, batch.images, strict=True)]
    assert rest == whole[30:]


def test_equal_bytes_draw_alike_and_visits_draw_anew(root: Path, tmp_path: Path, dataset: gs.Dataset) -> None:
    grown = gs.open_dataset(make_dataset(tmp_path / "grown", 6, splits=("train",)))
    sha = {key: row for row, key in enumerate(grown.table(["sha256"])["sha256"].to_pylist())}
    loader, other = gs.Loader(dataset, transform=CNNSPOT, seed=3), gs.Loader(grown, transform=CNNSPOT, seed=3)
    common = [(row, sha[key]) for row, key in enumerate(dataset.table(["sha256"])["sha256"].to_pylist()) if key in sha]
    assert any(a != b for a, b in common)
    rows, others = zip(*common, strict=True)
    assert loader.draws(rows) == other.draws(others)
    assert loader.draws(rows, visit=1) != loader.draws(rows)
    assert loader.draws(rows, epoch=1) != loader.draws(rows)


def test_visits_of_a_mix_get_draws_of_their_own(dataset: gs.Dataset) -> None:
    part = dataset.select(generators=["adm"], splits=["train"])
    loader = gs.Loader(
        part, 4, transform=[T.RandomCrop(9)], mix={"label": {"real": 1, "fake": 3}}, epoch_size=24, seed=2
    )
    rows = samples(part)
    visits: dict[int, list[int]] = {row: [] for row in range(len(part))}
    for batch in loader:
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            pixels = image.numpy().transpose(1, 2, 0)
            for visit in range(5):
                [drawn] = loader.draws([row], visit=visit)
                if np.array_equal(T.apply(rows[row]["data"], [T.RandomCrop(9)], drawn), pixels):
                    visits[row].append(visit)
    assert sum(map(len, visits.values())) == 24
    assert all(len(set(one)) == len(one) for one in visits.values())
    assert max(map(len, visits.values())) > 1


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([0, 72], IndexError, "0 to 71"),
        ([-1], IndexError, "0 to 71"),
        ("ab", ValueError, "rows"),
        ([1.5], ValueError, "rows"),
    ],
)
def test_draws_of_what_is_not_there(dataset: gs.Dataset, rows: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        gs.Loader(dataset).draws(rows)
    assert gs.Loader(dataset).draws([]) == []


# -- states ------------------------------------------------------------------------------------------------------------


def test_a_state_belongs_to_its_transform(dataset: gs.Dataset) -> None:
    state = gs.Loader(dataset, transform=CNNSPOT).state_dict()
    gs.Loader(dataset, transform=list(CNNSPOT)).load_state_dict(state)
    other = gs.Loader(dataset, transform=[*CNNSPOT[:-1], T.RandomHorizontalFlip(0.4)])
    with pytest.raises(ValueError, match=r"another run \(transform: .*allow=\(\"transform\",\)"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match=r"transform: .* here None"):
        gs.Loader(dataset).load_state_dict(state)
    other.load_state_dict(state, allow=("transform",))
    gs.Loader(dataset).load_state_dict(state, allow=["transform"])
    with pytest.raises(ValueError, match="seed: 0, here 1"):
        gs.Loader(dataset, transform=CNNSPOT, seed=1).load_state_dict(state, allow=("transform",))


@pytest.mark.parametrize("allow", ["transform", ("seed",)])
def test_what_a_state_may_differ_in(dataset: gs.Dataset, allow: Any) -> None:
    loader = gs.Loader(dataset)
    with pytest.raises(ValueError, match="allow"):
        loader.load_state_dict(loader.state_dict(), allow=allow)


def test_states_of_rows_are_refused(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset)
    with pytest.raises(ValueError, match="earlier release, which drew crops and flips by other numbers"):
        loader.load_state_dict(loader.state_dict() | {"version": 1})


def test_a_loader_with_steps_goes_through_pickle(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 8, transform=CNNSPOT)
    assert by_key(pickle.loads(pickle.dumps(loader))) == by_key(loader)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transform": T.RandomCrop(9)}, "a list of steps is needed"),
        ({"transform": [T.RandomCrop(9), "JPEG"]}, "entry 1 of the transform is no step but 'JPEG'"),
        ({"transform": []}, "no steps"),
        ({"transform": [T.RandomCrop(9)], "crop": 9}, "crop= beside transform="),
        ({"transform": [T.RandomCrop(9)], "flip": True, "small": "reflect"}, "flip= and small= beside transform="),
        ({"transform": [T.RandomCrop(9)], "crop_position": "center"}, "crop_position= beside transform="),
        ({"transform": [T.JPEG(), T.Resize(20)]}, "step 1 of the transform, Resize.* theirs differ, e.g."),
        (
            {"transform": [T.JPEG(), T.RandomCrop(40)]},
            "step 1 of the transform, RandomCrop.*larger than the image of 24x24",
        ),
        ({"transform": [T.OnlyIf(T.JPEG(), generators=["vqdm"]), T.RandomCrop(9)]}, "step 0 .*no generator 'vqdm'"),
        (
            {"transform": [T.CenterCrop(9), T.RandomApply(T.OnlyIf(T.JPEG(), generators=["x"]))]},
            "step 1 .*no generator 'x'; it has adm, biggan, sd14",
        ),
    ],
)
def test_lists_that_cannot_be(dataset: gs.Dataset, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gs.Loader(dataset, **options)


@pytest.mark.parametrize("steps", [CNNSPOT, [T.CenterCrop(30)], [T.RandomCrop(9), T.RandomVerticalFlip()]])
def test_dali_says_which_steps_it_takes(dataset: gs.Dataset, steps: list[T.Step]) -> None:
    with pytest.raises(ValueError, match='backend="dali" takes one crop and a RandomHorizontalFlip'):
        gs.Loader(dataset, transform=steps, backend="dali")


@pytest.mark.parametrize("pad", ["error", "tile"])
def test_dali_crops_and_flips_by_steps(dataset: gs.Dataset, pad: Any) -> None:
    pytest.importorskip("nvidia.dali", reason="needs DALI")
    steps = [T.RandomCrop(20 if pad == "error" else 80, pad=pad), T.RandomHorizontalFlip()]
    there = gs.Loader(dataset, 8, transform=steps, backend="dali", device="cpu", seed=1)
    assert by_key(there) == by_key(gs.Loader(dataset, 8, transform=steps, seed=1))


def test_a_dataset_of_one_size_needs_no_crop(dataset: gs.Dataset) -> None:
    fakes = dataset.select(generators=["sd14"], labels=["fake"])
    assert next(iter(gs.Loader(fakes, 4, transform=[T.JPEG(50)]))).images.shape == (4, 3, 80, 96)


def test_chance_needs_the_images_hashes(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "dataset", 2)

    def forget(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("sha256")
        hashes = [None, *table["sha256"].to_pylist()[1:]]
        return table.set_column(place, "sha256", pa.array(hashes, pa.string()))

    edit_index(root, forget)
    dataset = gs.open_dataset(root)
    for options in ({"crop": 9}, {"crop": 9, "shuffle": False, "flip": True}, {"transform": CNNSPOT}):
        with pytest.raises(ValueError, match="without a sha256, which random crops, flips, transforms"):
            gs.Loader(dataset, 4, **options)  # type: ignore[arg-type]
    assert len(list(gs.Loader(dataset, 4, crop=9, shuffle=False))) == 6  # nothing is drawn


@pytest.fixture(params=["raises", "shape", "dtype", "nothing"])
def broken(request: pytest.FixtureRequest) -> tuple[T.Step, str]:
    """A hook that breaks on reals, and what is said of it."""

    def hook(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Any:
        if request.param == "raises":
            raise RuntimeError("no such colour")
        return {"shape": image[1:], "dtype": image.astype(float), "nothing": None}[request.param]

    said = {"raises": "RuntimeError: no such colour", "shape": "mine returned uint8", "dtype": "float64"}
    return T.OnlyIf(T.Map(hook, name="mine"), label="real"), said.get(request.param, "returned NoneType")


def test_a_hook_that_breaks_names_step_and_sample(dataset: gs.Dataset, broken: tuple[T.Step, str]) -> None:
    step, said = broken
    loader = gs.Loader(dataset, 8, transform=[T.CenterCrop(20), step], shuffle=False)
    with pytest.raises(gs.DecodeError, match=rf"sample '\w+_real_\w+' in .*step 1 of the transform, OnlyIf.*{said}"):
        list(loader)


def test_hooks_that_break_are_skipped_when_asked(dataset: gs.Dataset, broken: tuple[T.Step, str]) -> None:
    loader = gs.Loader(dataset, 8, transform=[T.CenterCrop(20), broken[0]], on_error="skip")
    labels = torch.cat([batch.labels for batch in loader])
    assert labels.tolist() == [1] * 36
    assert loader.stats().skipped == 36


def test_an_image_that_a_step_cannot_take_fails_alone(dataset: gs.Dataset) -> None:
    """A crop after a random scale: which images are too small is known only when it is drawn."""
    steps = [T.RandomScale((0.5, 2.0)), T.RandomCrop(30)]
    with pytest.raises(
        gs.DecodeError, match=r"sample .*step 1 of the transform, RandomCrop.* is larger than the image"
    ):
        list(gs.Loader(dataset, 8, transform=steps))
    loader = gs.Loader(dataset, 8, transform=steps, on_error="skip")
    assert 0 < sum(map(len, loader)) == 72 - loader.stats().skipped < 72


def test_an_image_of_another_size_than_the_index_says(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "dataset", 2)

    def widen(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("width")
        widths = pc.if_else(pc.equal(table["width"], 64), pc.add(table["width"], 1), table["width"])
        return table.set_column(place, table.schema.field(place), widths.cast(table["width"].type))

    edit_index(root, widen)
    with pytest.raises(gs.DecodeError, match=r"the image has 64x64 pixels, but the index says 65x64"):
        list(gs.Loader(gs.open_dataset(root), 4, transform=[T.Resize((9, 9))]))


def test_a_recipe_by_name_is_its_steps_and_its_normalisation(dataset: gs.Dataset) -> None:
    named = gs.Loader(dataset, 8, transform="univfd", output="float32", seed=3)
    given = gs.Loader(dataset, 8, transform=gs.recipes.get("univfd").train, normalize="clip", output="float32", seed=3)
    assert by_key(named) == by_key(given)
    given.load_state_dict(named.state_dict())
    other = gs.Loader(dataset, 8, transform="univfd", normalize="none", output="float32", seed=3)
    assert by_key(other) != by_key(given)


def test_an_evaluation_by_name_is_in_order_and_its_training_warns(dataset: gs.Dataset) -> None:
    evaluated = gs.Loader(dataset, 8, transform="univfd:eval", shuffle=False)
    plain = gs.Loader(dataset, 8, transform=[T.CenterCrop(224)], shuffle=False)
    assert by_key(evaluated) == by_key(plain)
    ten = next(iter(gs.Loader(dataset, 8, transform="rine-ten-crops:eval", shuffle=False)))
    assert ten.images.shape == (8, 10, 3, 224, 224)
    one = next(iter(gs.Loader(dataset, 8, transform="rine-ten-crops:eval", views="center", shuffle=False)))
    assert one.images.shape[:2] == (8, 1)
    with pytest.warns(UserWarning, match='"univfd:eval"') as caught:
        gs.Loader(dataset, 8, transform="univfd", shuffle=False)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ("univdf", "did you mean 'univfd'"),
        ("fatformer", "not published"),
    ],
)
def test_names_that_cannot_be(dataset: gs.Dataset, transform: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gs.Loader(dataset, transform=transform)


def test_steps_after_normalising_act_on_the_floats(dataset: gs.Dataset) -> None:
    """The rest of each image is as without them, and noise does not depend on how images were normalised."""
    noise = T.RandomErasing(1.0, value="random", after_normalize=True)
    zeros = T.RandomApply(T.PatchMask(8, 0.5, after_normalize=True), 1.0)
    images = {}
    for normalize in ("imagenet", "none"):
        for name, steps in (("plain", []), ("both", [zeros, noise])):
            loader = gs.Loader(
                dataset, 8, transform=[T.Resize((48, 48)), *steps], shuffle=False, output="float32", normalize=normalize
            )
            images[normalize, name] = torch.cat([batch.images.clone() for batch in loader]).numpy()
    half = gs.Loader(dataset, 8, transform=[T.Resize((48, 48)), zeros, noise], shuffle=False, output="float16")
    halves = torch.cat([batch.images.clone() for batch in half]).numpy()
    draws = half.draws(range(len(dataset)))
    for i, (_, masked, erased) in enumerate(draws):
        expected = {name: images[name, "plain"][i].copy() for name in ("imagenet", "none")}
        for cell in masked["inner"][0]["cells"]:
            y, x = cell // 6 * 8, cell % 6 * 8
            for image in expected.values():
                image[:, y : y + 8, x : x + 8] = 0
        if erased["applied"]:
            rows = slice(erased["y"], erased["y"] + erased["height"])
            columns = slice(erased["x"], erased["x"] + erased["width"])
            normal = normals_by_rule(48, 48, erased["key"]).transpose(2, 0, 1)[:, rows, columns]
            for image in expected.values():
                image[:, rows, columns] = normal
        for name, image in expected.items():
            assert np.array_equal(images[name, "both"][i], image)
        assert np.array_equal(halves[i], expected["imagenet"].astype(np.float16))


@pytest.mark.parametrize(
    ("steps", "output", "said"),
    [
        ([T.CenterCrop(8), T.PatchMask(4, after_normalize=True)], "uint8", r"step 1 .*PatchMask.*float32"),
        (
            [T.PatchMask(4, after_normalize=True), T.CenterCrop(8)],
            "float32",
            r"step 1 .*Crop.*comes after step 0",
        ),
        (
            [T.CenterCrop(8), T.RandomOrder([T.JPEG(), T.PatchMask(4, after_normalize=True)])],
            "float32",
            "step 1 .*separate them",
        ),
    ],
)
def test_steps_after_normalising_come_last_and_need_floats(
    dataset: gs.Dataset, steps: list[T.Step], output: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        gs.Loader(dataset, transform=steps, output=output)


def test_a_hook_may_change_the_size_when_it_says_so(dataset: gs.Dataset) -> None:
    steps = [T.Map(quartered, size=(20, 30)), T.RandomCrop(16)]
    loader = gs.Loader(dataset, 8, transform=steps, shuffle=False)
    for batch in loader:
        for row, image, draws in zip(batch.rows, batch.images, loader.draws(batch.rows), strict=True):
            wanted = T.apply(gs.decode(dataset[int(row)].data), steps, draws)
            assert np.array_equal(image.numpy().transpose(1, 2, 0), wanted)
