"""`gs.Scores` on one process: what add takes and refuses, files, partial sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

CROP = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 5)).select(splits=["val"])


def model(images: torch.Tensor) -> torch.Tensor:
    """A probability of each image (n, 3, h, w) uint8: (n, 1), exact, so that it does not depend on the batch."""
    return images.long().sum((1, 2, 3))[:, None] / (3 * CROP * CROP * 255)


def rows_of(dataset: gs.Dataset) -> np.ndarray:
    return np.arange(len(dataset))


def test_a_loop_over_a_loader(dataset: gs.Dataset, tmp_path: Path) -> None:
    """The order of the loader and the size of its batches change nothing."""
    tables = []
    for batch_size, shuffle in ((7, True), (64, False)):
        loader = gs.Loader(dataset, batch_size, crop=CROP, crop_position="center", shuffle=shuffle)
        scores = gs.Scores(loader.dataset)
        for batch in loader:
            scores.add(batch, model(batch.images))
        assert len(scores) == len(dataset)
        tables.append(scores.gather().table())
        scores.save(tmp_path / f"{batch_size}.parquet")
    assert tables[0].json() == tables[1].json()
    assert [row["group"] for row in tables[0].rows] == ["adm", "biggan", "sd14"]
    saved = [pq.read_table(tmp_path / f"{size}.parquet") for size in (7, 64)]
    assert saved[0].equals(saved[1])
    assert saved[0].column_names == ["row", "key", "subset", "label", "degradation", "score"]
    index = dataset.table().take(pa.array(saved[0]["row"]))
    assert saved[0]["key"].to_pylist() == index["key"].to_pylist()
    assert saved[0]["subset"].to_pylist() == index["generator"].to_pylist()
    assert saved[0]["label"].to_pylist() == index["label"].to_pylist()
    assert set(saved[0]["degradation"].to_pylist()) == {"none"}


def test_logits_and_kinds_of_numbers(dataset: gs.Dataset) -> None:
    rows = rows_of(dataset)
    logits = torch.linspace(-800, 800, len(rows), dtype=torch.float64)
    expected = logits.sigmoid().numpy()
    for p in (logits, logits.numpy(), logits[:, None], logits.tolist()):
        scores = gs.Scores(dataset)
        scores.add(rows, p, logits=True)
        assert np.allclose(scores.of(), expected, atol=1e-15, rtol=0)
    for kind in (torch.bfloat16, torch.float16, torch.float32):
        scores = gs.Scores(dataset)
        scores.add(rows, torch.full((len(rows),), 0.75, dtype=kind, requires_grad=True))
        assert (scores.of() == 0.75).all()


def test_views_are_averaged(dataset: gs.Dataset) -> None:
    p = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch = SimpleNamespace(
        rows=torch.arange(4),
        labels=torch.tensor([label == "fake" for label in dataset.table(["label"])["label"].to_pylist()[:4]]).long(),
        images=torch.zeros(4, 5, 3, 8, 8),
    )
    expected = p.mean(1).numpy()
    for given in (p, p.flatten(), p.reshape(20, 1), p.mean(1)):
        scores = gs.Scores(dataset)
        scores.add(batch, given)  # type: ignore[arg-type]
        assert np.allclose(scores.of()[:4], expected, atol=1e-15)
        assert np.isnan(scores.of()[4:]).all()
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for a batch of 4 samples: \(4, 5\) or \(20,\)"):
        gs.Scores(dataset).add(batch, p[:, :2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.1, 0.2], r"shape \(2,\) for a batch of 3 samples: \(3,\) or \(3, 1\) is needed"),
        (np.full((3, 2), 0.5), r"shape \(3, 2\)"),  # two classes are no two views
        ([0.1, float("nan"), 0.3], "^adm_val_fake_.*: the score is nan"),
        ([0.1, 0.2, 1.5], r"the score is 1.5, no probability of 0 to 1.*logits=True"),
        ([-3.0, -2.0, -1.0], r" and 0 more|logits=True"),
        (["a", "b", "c"], "a tensor or array of numbers is needed"),
    ],
)
def test_scores_that_cannot_be(dataset: gs.Dataset, p: object, message: str) -> None:
    scores = gs.Scores(dataset)
    with pytest.raises(ValueError, match=message):
        scores.add([0, 1, 2], p)
    assert len(scores) == 0


def test_unknown_rows_and_batches_of_another_dataset(dataset: gs.Dataset) -> None:
    scores = gs.Scores(dataset)
    n = len(dataset)
    for rows in ([n], [-1], [0, n + 5]):
        with pytest.raises(ValueError, match=rf"unknown: the dataset of these scores has the rows 0 to {n - 1}"):
            scores.add(rows, np.full(len(rows), 0.5))
    reals_first = dataset.select(labels=["real"])
    other = next(iter(gs.Loader(reals_first, 8, crop=CROP)))
    same_labels = next(iter(gs.Loader(dataset.select(generators=["sd14"]), 8, crop=CROP, shuffle=False)))
    for batch in (other, same_labels):
        with pytest.raises(ValueError, match=r"of another dataset.*gs.Scores\(loader.dataset\)"):
            scores.add(batch, np.full(8, 0.5))
    with pytest.raises(ValueError, match="neither a batch nor whole numbers"):
        scores.add([0.5, 1.5], [0.5, 0.5])
    with pytest.raises(ValueError, match="a name is needed"):
        scores.add([0], [0.5], degradation=65)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no dataset"):
        gs.Scores([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing to score"):
        gs.Scores(dataset - dataset)


def test_each_sample_once(dataset: gs.Dataset) -> None:
    scores = gs.Scores(dataset)
    scores.add([0, 1, 2], [0.1, 0.2, 0.3])
    first = dataset.table(["key"])["key"][0].as_py()
    with pytest.raises(ValueError, match=f"^{first}: scored already; each sample is scored once"):
        scores.add([0, 5], [0.1, 0.2])
    with pytest.raises(ValueError, match="scored already"):
        scores.add([7, 7], [0.1, 0.2])
    scores.add([0, 5], [0.1, 0.2], degradation="jpeg:65")  # another picture
    assert (len(scores), scores.degradations) == (5, ["none", "jpeg:65"])
    with pytest.raises(ValueError, match=r"there are no scores of 'blur:3', but of none, jpeg:65"):
        scores.of("blur:3")


def test_an_empty_batch_of_a_rank_without_samples(dataset: gs.Dataset) -> None:
    scores = gs.Scores(dataset)
    scores.add(np.empty(0, int), torch.empty(0, 1))
    assert len(scores) == 0


def test_missing_scores_are_named_or_counted(dataset: gs.Dataset) -> None:
    scores = gs.Scores(dataset)
    with pytest.raises(ValueError, match="there are no scores"):
        scores.gather()
    with pytest.raises(ValueError, match="there are no scores"):
        scores.table()
    with pytest.raises(ValueError, match="no scores to save"):
        scores.save("nowhere")
    scores.add(rows_of(dataset)[5:], np.full(len(dataset) - 5, 0.5))
    keys = dataset.table(["key"])["key"].to_pylist()[:3]
    with pytest.raises(ValueError, match=f"^{', '.join(keys)} and 2 more samples: no score"):
        scores.gather()
    with pytest.warns(UserWarning, match="Made of a part"):
        table = scores.table()
    assert table.missing == 5
    assert f"Made of a part: 5 of {len(dataset)} samples have no score." in table.markdown()
    assert scores.gather(partial=True) is scores
    with pytest.raises(ValueError, match="are gathered"):
        scores.add([0], [0.5])
    assert scores.gather() is scores


def test_files_of_scores(dataset: gs.Dataset, tmp_path: Path) -> None:
    rows, rng = rows_of(dataset), np.random.default_rng(0)
    for name, part in (("a", rows[:9]), ("b", rows[9:])):
        scores = gs.Scores(dataset)
        scores.add(part, rng.random(len(part)))
        scores.add(part, rng.random(len(part)), degradation="jpeg:65")
        scores.save(tmp_path / name)
    both = gs.Scores.load(dataset, tmp_path / "a", tmp_path / "b")
    assert len(both) == 2 * len(dataset)
    assert np.array_equal(both.of("jpeg:65")[9:], scores.of("jpeg:65")[9:])
    both.gather()
    with pytest.raises(ValueError, match="scored already"):
        gs.Scores.load(dataset, tmp_path / "a", tmp_path / "a")
    with pytest.raises(ValueError, match="of another dataset or selection"):
        gs.Scores.load(dataset.select(labels=["fake"]), tmp_path / "a")
    (tmp_path / "c").write_text("no Parquet")
    with pytest.raises(ValueError, match="is no file of scores"):
        gs.Scores.load(dataset, tmp_path / "c")
