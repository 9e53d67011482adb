"""What comes beside a batch's images: a second dataset with the same geometry, and arrays by key."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.utils.data import DataLoader

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.cli import app
from genimage_stream.loading.receipt import receipt_hash
from genimage_stream.loading.replay import differences, loader_of
from tests.fixtures.shards import Sample, edit_index, picture, write_dataset

COUNT = 11
STEPS = [T.RandomCrop(32), T.RandomHorizontalFlip(), T.RandomApply(T.JPEG((30, 90)), p=0.5)]


def sample(number: int, generator: str, label: str, *, inverted: bool = False) -> Sample:
    """A PNG of a size of its own; its pair shows the same picture inverted."""
    width, height = 60 + number, 50 + 2 * number
    pixels = picture(number, width, height)
    file = io.BytesIO()
    Image.fromarray(255 - pixels if inverted else pixels).save(file, "PNG")
    key = f"{generator}_train_{label}_n{number:03d}"
    return Sample(generator, "train", label, key, file.getvalue(), "png", (width, height), class_index=number)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reals of sd14, and their reconstructions in another order, among others that have no real."""
    root = tmp_path_factory.mktemp("dataset")
    reals = [sample(number, "sd14", "real") for number in range(COUNT)]
    made = [sample(number, "dda", "fake", inverted=True) for number in reversed(range(COUNT + 3))]
    return write_dataset(root, [*reals, *made], per_shard=4)


@pytest.fixture
def both(root: Path) -> tuple[gs.Dataset, gs.Dataset]:
    dataset = gs.open_dataset(root)
    return dataset.select(labels=["real"]), dataset.select(labels=["fake"])


@pytest.fixture
def maps(root: Path, tmp_path: Path) -> Path:
    """A folder of arrays (2, 3) that hold the class."""
    for one in gs.open_dataset(root).table(["key", "class_index"]).to_pylist():
        np.save(tmp_path / f"{one['key']}.npy", np.full((2, 3), one["class_index"], np.float32))
    return tmp_path


def stems(batch: gs.Batch) -> list[str]:
    return [key.rsplit("_", 1)[1] for key in batch.keys]


# -- pairs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second_opened", [False, True])
def test_pairs_have_the_same_geometry_and_draws(
    both: tuple[gs.Dataset, gs.Dataset], root: Path, second_opened: bool
) -> None:
    reals, made = both
    if second_opened:
        made = gs.open_dataset(root).select(labels=["fake"])
    loader = gs.Loader(reals, 4, transform=STEPS, pairs=made, seed=2)
    seen = 0
    for batch in loader:
        pair = batch.pairs
        assert pair is not None
        assert stems(pair) == stems(batch)
        assert pair.labels.tolist() == [1] * len(batch)
        assert batch.as_dict()["pairs"]["images"] is pair.images
        assert [made[row].key for row in pair.rows.tolist()] == pair.keys
        for row, image, draws in zip(pair.rows.tolist(), pair.images, loader.draws(batch.rows), strict=True):
            expected = T.apply(made[row].data, STEPS, draws)
            assert np.array_equal(image.numpy().transpose(1, 2, 0), expected)
        seen += len(batch)
    assert seen == COUNT


@pytest.mark.parametrize("options", [{}, {"flip": True, "output": "float32"}, {"views": "five"}, {"shuffle": False}])
def test_pairs_of_plain_crops_are_the_inverted_pictures(both: tuple[gs.Dataset, gs.Dataset], options: Any) -> None:
    reals, made = both
    for batch in gs.Loader(reals, 4, crop=32, pairs=made, normalize=None, **options):
        low, high = (0, 255) if batch.images.dtype == torch.uint8 else (None, None)
        if high is not None:
            assert torch.equal(batch.pairs.images, high - batch.images + low)
        else:
            assert batch.pairs.images.shape == batch.images.shape


def test_pairs_of_whole_images(both: tuple[gs.Dataset, gs.Dataset]) -> None:
    reals, made = both
    sizes = []
    for batch in gs.Loader(reals, 4, views="whole", pairs=made, shuffle=False):
        assert torch.equal(batch.pairs.images, 255 - batch.images)
        sizes.append(tuple(batch.images.shape[2:]))
    assert len(set(sizes)) == COUNT


def test_pairs_resume_and_go_to_workers_and_ranks(both: tuple[gs.Dataset, gs.Dataset], root: Path) -> None:
    reals, made = both

    def loader(**options: Any) -> gs.Loader:
        return gs.Loader(reals, 3, transform=STEPS, seed=7, pairs=made, **options)

    def both_images(batches: Any) -> list[torch.Tensor]:
        return [torch.cat([batch.images, batch.pairs.images]) for batch in batches]

    whole = both_images(loader())
    first = loader()
    next(iter(first))
    state = first.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    for one, other in zip(both_images(resumed), whole[1:], strict=True):
        assert torch.equal(one, other)
    workers = both_images(DataLoader(loader().as_iterable_dataset(), None, num_workers=2))
    assert all(torch.equal(one, other) for one, other in zip(workers, whole, strict=True))
    copied = both_images(pickle.loads(pickle.dumps(loader())))
    assert all(torch.equal(one, other) for one, other in zip(copied, whole, strict=True))
    ranks = [batch for rank in (0, 1) for batch in loader(rank=rank, world_size=2)]
    assert sorted(stem for batch in ranks for stem in stems(batch.pairs)) == [f"n{i:03d}" for i in range(COUNT)]
    with pytest.raises(ValueError, match="pairs"):
        gs.Loader(reals, 3, transform=STEPS, seed=7).load_state_dict(state)


def test_a_receipt_holds_pairs(both: tuple[gs.Dataset, gs.Dataset], root: Path, tmp_path: Path) -> None:
    reals, made = both
    loader = gs.Loader(reals, 3, transform=STEPS, seed=7, pairs=made)
    receipt = json.loads(json.dumps(loader.receipt()))
    assert receipt["pairs"]["samples"] == len(made)
    assert receipt["hash"] != gs.Loader(reals, 3, transform=STEPS, seed=7).receipt()["hash"]
    assert (
        receipt["hash"]
        != gs.Loader(reals, 3, transform=STEPS, seed=7, pairs=made.select(classes=range(11))).receipt()["hash"]
    )
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    for again in (loader_of(receipt), loader_of(receipt, str(moved)), loader_of(receipt, None, str(moved))):
        assert again.receipt()["hash"] == receipt["hash"]
        assert differences(receipt, again) == []
        assert all(torch.equal(a.pairs.images, b.pairs.images) for a, b in zip(again, loader, strict=True))
        loader.set_epoch(0)
    (tmp_path / "receipt.json").write_text(json.dumps(receipt))
    arguments = ["replay", str(tmp_path / "receipt.json"), "--pairs", str(moved), "--check"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "the same samples, order and pixels")
    with pytest.raises(ValueError, match="without pairs"):
        loader_of(gs.Loader(reals, 3, crop=32).receipt(), None, str(moved))
    tampered = {**receipt, "pairs": {**receipt["pairs"], "samples": 3}}
    with pytest.raises(ValueError, match="was changed"):
        loader_of(tampered)
    with pytest.raises(ValueError, match="does not hold the samples"):
        loader_of({**tampered, "hash": receipt_hash(tampered)})


def test_pairs_follow_a_mix(both: tuple[gs.Dataset, gs.Dataset]) -> None:
    reals, made = both
    loader = gs.Loader(reals, 4, transform=STEPS, pairs=made, mix={"class_index": "equal"}, epoch_size=30)
    batches = list(loader)
    assert sum(len(batch) for batch in batches) == 30
    assert all(stems(batch) == stems(batch.pairs) for batch in batches)


@pytest.mark.parametrize("options", [{}, {"views": "five"}, {"views": "all"}, {"channels_last": True}])
def test_a_damaged_image_takes_its_pair_along(tmp_path: Path, options: Any) -> None:
    """Whichever of the two it is; arrays, counts and the limit go by samples of either."""
    samples = [
        sample(i, generator, label) for generator, label in (("sd14", "real"), ("dda", "fake")) for i in range(8)
    ]
    broken = [replace(one, data=one.data[:200]) if i in (2, 8 + 2, 8 + 5) else one for i, one in enumerate(samples)]
    dataset = gs.open_dataset(write_dataset(tmp_path / "shards", broken, per_shard=4))
    reals, made = dataset.select(labels=["real"]), dataset.select(labels=["fake"])
    for one in samples:
        np.save(tmp_path / f"{one.key}.npy", np.array(one.class_index))

    def loader(most: int) -> gs.Loader:
        what: dict[str, Any] = {"crop": 40, "on_error": "skip", "max_errors": most, "with_arrays": {"n": tmp_path}}
        return gs.Loader(reals, 4, pairs=made, **what, **options)

    skipping, seen = loader(3), []
    for batch in skipping:
        assert stems(batch) == stems(batch.pairs)
        assert [reals[row].key for row in batch.rows.tolist()] == batch.keys
        assert [f"n{n:03d}" for n in batch["n"].tolist()] == stems(batch)
        for part in (batch, batch.pairs):
            assert len(part.images) == (len(part) if part.view_of is None else len(part.view_of))
            assert part.view_of is None or sorted(set(part.view_of.tolist())) == list(range(len(part)))
        assert torch.equal(batch.images, batch.pairs.images)  # the same pictures, without those in between
        seen += stems(batch)
    assert sorted(seen) == ["n000", "n001", "n003", "n004", "n006", "n007"]
    assert (skipping.stats().images, skipping.stats().skipped) == (6, 2)
    with pytest.raises(gs.DecodeError, match="more than max_errors=2"):
        list(loader(2))
    with pytest.raises(gs.DecodeError):
        list(gs.Loader(reals, 4, crop=40, pairs=made, **options))


def test_pairs_that_do_not_fit_are_refused(both: tuple[gs.Dataset, gs.Dataset], root: Path, tmp_path: Path) -> None:
    reals, made = both
    with pytest.raises(ValueError, match=r"3 of 14 samples have no pair in .*e\.g\. 'dda_train_fake_n013'"):
        gs.Loader(made, crop=32, pairs=reals)
    with pytest.raises(ValueError, match="have several, or share it"):
        gs.Loader(reals, crop=32, pairs=made | reals)
    with pytest.raises(ValueError, match="is no dataset"):
        gs.Loader(reals, crop=32, pairs=str(root))  # type: ignore[arg-type]
    other = write_dataset(tmp_path, [sample(number, "dda", "fake") for number in range(COUNT)])

    def wider(table: Any) -> Any:
        return table.set_column(table.schema.get_field_index("width"), "width", [[99] * len(table)]).cast(table.schema)

    edit_index(other, wider)
    with pytest.raises(ValueError, match=r"11 of 11 samples have another size than their pair.*60x50 and 99x50"):
        gs.Loader(reals, crop=32, pairs=gs.open_dataset(other))


# -- arrays ------------------------------------------------------------------------------------------------------------


def as_npz(folder: Path) -> Path:
    np.savez(folder / "maps.npz", **{path.stem: np.load(path) for path in folder.glob("*.npy")})
    return folder / "maps.npz"


@pytest.mark.parametrize("form", ["folder", "npz"])
def test_arrays_come_with_their_samples(both: tuple[gs.Dataset, gs.Dataset], maps: Path, form: str) -> None:
    path = maps if form == "folder" else as_npz(maps)
    reals, made = both
    loader = gs.Loader(reals, 3, crop=32, with_arrays={"lare": path}, pairs=made, seed=4)
    classes = reals.table(["class_index"])["class_index"].to_pylist()

    def check(batch: gs.Batch) -> int:
        assert batch.arrays["lare"].dtype == torch.float32
        assert batch["lare"].shape == (len(batch), 2, 3)
        assert batch["lare"][:, 0, 0].tolist() == [classes[row] for row in batch.rows.tolist()]
        assert batch.as_dict()["lare"] is batch.arrays["lare"]
        assert batch.to("cpu").arrays.keys() == {"lare"}
        return len(batch)

    assert sum(check(batch) for batch in loader) == COUNT
    assert sum(check(batch) for batch in loader) == COUNT  # another epoch
    workers = DataLoader(loader.as_iterable_dataset(), None, num_workers=2)
    assert sum(check(batch) for batch in workers) == COUNT
    first = gs.Loader(reals, 3, crop=32, with_arrays={"lare": path}, seed=4)
    next(iter(first))
    rest = pickle.loads(pickle.dumps(first))
    assert sum(check(batch) for batch in rest) == COUNT - 3
    assert first.receipt()["samples"] == COUNT


def test_arrays_of_skipped_samples_are_left_out(tmp_path: Path) -> None:
    samples = [sample(number, "sd14", "real") for number in range(6)]
    broken = Sample(**{**vars(samples[2]), "data": samples[2].data[:200]})
    dataset = gs.open_dataset(write_dataset(tmp_path / "shards", [*samples[:2], broken, *samples[3:]]))
    (tmp_path / "maps").mkdir()
    for one in samples:
        np.save(tmp_path / f"maps/{one.key}.npy", np.array(one.class_index))
    batches = list(gs.Loader(dataset, 4, crop=32, with_arrays={"place": tmp_path / "maps"}, on_error="skip"))
    assert sorted(torch.cat([batch["place"] for batch in batches]).tolist()) == [0, 1, 3, 4, 5]
    assert all(batch["place"].tolist() == batch.rows.tolist() for batch in batches)


def test_arrays_that_do_not_fit_are_refused(both: tuple[gs.Dataset, gs.Dataset], maps: Path) -> None:
    reals, _ = both

    def load(path: Any = maps, name: Any = "lare") -> list[gs.Batch]:
        return list(gs.Loader(reals, 3, crop=32, with_arrays={name: path}))

    for name in ("images", "keys", "two words", 3):
        with pytest.raises(ValueError, match="cannot be the name"):
            load(name=name)
    with pytest.raises(ValueError, match="paths by name"):
        gs.Loader(reals, crop=32, with_arrays=str(maps))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no folder or"):
        load(maps / "elsewhere")
    one = maps / "sd14_train_real_n004.npy"
    whole = one.read_bytes()
    np.save(one, np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"n004\.npy in .* is float32 \(3, 3\), and the first sample's"):
        load()
    one.write_bytes(whole[:-3])
    with pytest.raises(OSError, match=r"n004\.npy in .* cannot be read"):
        load()
    one.unlink()
    with pytest.raises(ValueError, match=r"no array for 1 of 11 samples, e\.g\. no sd14_train_real_n004\.npy"):
        load()
    np.save(maps / "sd14_train_real_n000.npy", np.array(["text"] * 6).reshape(2, 3))
    one.write_bytes(whole)
    with pytest.raises(ValueError, match="numbers are needed"):
        load()
    (maps / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"is no \.npz file"):
        load(maps / "bad.npz")
