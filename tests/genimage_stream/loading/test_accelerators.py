"""accelerate and transformers: gradient accumulation, skipped batches, resumed trainings, uneven last steps."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import genimage_stream as gs
from tests.fixtures import torchrun
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.loading.test_trainers import run_two


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 5)  # 60 samples: 9 steps


def make_loader(root: Path, **options: Any) -> gs.Loader:
    return gs.Loader(gs.open_dataset(root), 7, crop=16, seed=4, output="float32", threads=2, **options)


def straight(root: Path, epochs: int) -> list[list[str]]:
    loader = make_loader(root)
    return [batch.keys for _ in range(epochs) for batch in loader]


@pytest.fixture
def accelerate() -> Any:
    found = pytest.importorskip("accelerate")
    state = pytest.importorskip("accelerate.state")
    yield found
    for shared in (state.AcceleratorState, state.GradientState, state.PartialState):
        shared._shared_state.clear()


@pytest.mark.filterwarnings("ignore")
def test_accumulation_ends_with_the_epoch(accelerate: Any, root: Path) -> None:
    """A group of steps went on across the epoch's end, so two epochs' samples made one step of the optimizer."""

    class Plain(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([(batch.images, batch.labels) for batch in make_loader(root)])

        def __len__(self) -> int:
            return 9

    found = []
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4)
    model, optimizer = accelerator.prepare(model := torch.nn.Linear(3, 2), torch.optim.SGD(model.parameters(), 0.1))
    for loader in (make_loader(root), DataLoader(Plain(), batch_size=None)):
        prepared = accelerator.prepare(loader)
        steps = []
        for epoch in range(2):
            for number, (images, labels) in enumerate(prepared):
                with accelerator.accumulate(model):
                    accelerator.backward(torch.nn.functional.cross_entropy(model(images.mean((2, 3))), labels))
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    steps.append((epoch, number))
        found.append(steps)
        assert not accelerator.gradient_state.in_dataloader
    assert found[0] == found[1] == [(0, 3), (0, 7), (0, 8), (1, 3), (1, 7), (1, 8)]


@pytest.mark.filterwarnings("ignore")
def test_the_flag_is_that_of_the_innermost_loop(accelerate: Any, root: Path) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    flags = []
    loader, inner = make_loader(root), make_loader(root)
    for number, _ in enumerate(loader):
        if number == 8:
            for count, _ in enumerate(inner):
                flags.append(accelerator.gradient_state.end_of_dataloader)
                if count == 2:
                    break
        flags.append(accelerator.gradient_state.end_of_dataloader)
    assert flags == [False] * 11 + [True]
    assert not accelerator.gradient_state.in_dataloader


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("skipped", [0, 1, 4, 9])
def test_skipped_batches_are_not_loaded(accelerate: Any, root: Path, skipped: int) -> None:
    accelerate.Accelerator(cpu=True)
    loader = make_loader(root)
    rest = accelerate.skip_first_batches(loader, skipped)
    assert len(rest) == 9 - skipped
    found = [batch.keys for batch in rest]
    assert found == straight(root, 1)[skipped:]
    assert loader.stats().batches == len(found)
    if skipped < 9:
        assert found + [batch.keys for batch in loader] == straight(root, 2)[skipped:]
        found = [batch.keys for batch in accelerate.skip_first_batches(loader, 2)]
        assert found == straight(root, 3)[20:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 1])
def test_accelerate_over_a_dataloader(accelerate: Any, root: Path, workers: int) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    around = DataLoader(
        make_loader(root).as_iterable_dataset(), batch_size=None, num_workers=workers, collate_fn=gs.collate_dict
    )
    loader = make_loader(root)
    for batch, expected in zip(accelerator.prepare(around), loader, strict=True):
        assert (batch["pixel_values"] == expected.images).all()
        assert (batch["labels"] == expected.labels).all()
    around = DataLoader(make_loader(root).as_iterable_dataset(), batch_size=None, num_workers=workers)
    prepared = accelerator.prepare(around)
    expected = straight(root, 2)
    assert [[batch.keys for batch in prepared] for _ in range(2)] == [expected[:9], expected[9:]]
    for images, labels in prepared:
        assert len(images) == len(labels) == 7
        break
    config = accelerate.DataLoaderConfiguration(dispatch_batches=False)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=config)
    around = DataLoader(make_loader(root).as_iterable_dataset(), batch_size=None, num_workers=workers)
    assert [batch.keys for batch in accelerator.prepare(around)] == straight(root, 1)


def test_dicts_for_transformers(root: Path) -> None:
    loader = make_loader(root)
    batches = list(make_loader(root))
    loader.collate_fn = gs.collate_dict
    first = next(iter(loader))
    assert list(first) == ["pixel_values", "labels"]
    assert (first["pixel_values"] == batches[0].images).all()  # type: ignore[index]
    joined = gs.collate_dict(batches[:2])
    assert joined["pixel_values"].shape == (14, 3, 16, 16)
    assert joined["labels"].tolist() == batches[0].labels.tolist() + batches[1].labels.tolist()
    for wrong in ([], [1], [batches[0], None]):
        with pytest.raises(TypeError, match="a batch of a loader"):
            gs.collate_dict(wrong)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
def test_transformers_resumes_inside_an_epoch(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.heard: list[float] = []

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            self.heard.append(float(pixel_values.double().sum()))
            found = self.layer(pixel_values.mean((2, 3)))
            return {"loss": torch.nn.functional.cross_entropy(found, labels), "logits": found}

    class Trainer(transformers.Trainer):  # type: ignore[misc, name-defined]
        def get_train_dataloader(self) -> gs.Loader:
            loader = make_loader(root)
            loader.collate_fn = gs.collate_dict
            return loader

    def trainer() -> Any:
        options = transformers.TrainingArguments(
            str(tmp_path), num_train_epochs=3, save_steps=1, use_cpu=True, report_to="none", disable_tqdm=True
        )
        return Trainer(Model(), options, train_dataset=gs.open_dataset(root))

    whole = trainer()
    whole.train()
    loader = make_loader(root)
    assert whole.model.heard == [float(batch.images.double().sum()) for _ in range(3) for batch in loader]
    for step in (13, 9, 4):  # a run that goes on writes the later checkpoints anew
        rest = trainer()
        rest.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert rest.model.heard == whole.model.heard[step:], step


GATHER_IN_TWO = """
import sys
import accelerate
import torch
import genimage_stream as gs

root, folder = sys.argv[1:]
accelerator = accelerate.Accelerator(cpu=True)
dataset = gs.open_dataset(root).first(23, per=())
loader = accelerator.prepare(gs.Loader(dataset, 4, crop=16, shuffle=False, threads=1))
keys, rows, labels, pixels = [], [], [], []
for batch in loader:
    keys += gs.gather(batch.keys)
    rows.append(gs.gather(batch.rows))
    labels += gs.gather(batch.labels == 1).tolist()
    pixels.append(gs.gather(batch.images))
    empty = gs.gather(batch.images[: 0 if accelerator.process_index else 2].half())
    assert empty.shape == (2, 3, 16, 16) and empty.dtype == torch.float16
table = dataset.table(["key", "label"])
assert keys == table["key"].to_pylist()
assert torch.cat(rows).tolist() == list(range(23))
assert labels == [word == "fake" for word in table["label"].to_pylist()]
whole = [batch.images for batch in gs.Loader(dataset, 4, crop=16, shuffle=False, rank=0, world_size=1)]
assert torch.equal(torch.cat(pixels), torch.cat(whole))
with open(f"{folder}/seen-{accelerator.process_index}", "w") as log:
    print(*keys, file=log)
accelerator.end_training()
"""


def test_an_uneven_last_step_is_gathered(warm: str, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    launcher = [torchrun.__file__, "--nproc-per-node=2"]
    seen = run_two(warm, GATHER_IN_TWO, root, tmp_path, launcher)
    assert seen[0] == seen[1]
    assert gs.gather(torch.arange(3)).tolist() == [0, 1, 2]
    for wrong in (3, torch.tensor(3)):
        with pytest.raises(TypeError, match="first dimension of samples"):
            gs.gather(wrong)  # type: ignore[type-var]


DISPATCHED = """
import sys
import accelerate
import genimage_stream as gs
from torch.utils.data import DataLoader

root, folder = sys.argv[1:]
accelerator = accelerate.Accelerator(cpu=True)
loader = gs.Loader(gs.open_dataset(root), 4, crop=16, threads=1)
said = ""
for workers in (0, 1):
    around = DataLoader(
        loader.as_iterable_dataset(), batch_size=None, num_workers=workers, collate_fn=gs.collate_dict
    )
    if accelerator.process_index == 0:  # the only one that reads
        try:
            next(iter(accelerator.prepare(around)))
        except RuntimeError as error:
            said += "refused " * ("prepare the gs.Loader itself" in str(error))
with open(f"{folder}/seen-{accelerator.process_index}", "w") as log:
    print(said, file=log)
accelerator.end_training()
"""


def test_a_dataloader_is_not_divided_twice(warm: str, root: Path, tmp_path: Path) -> None:
    """Only the samples of rank 0 would be seen."""
    pytest.importorskip("accelerate")
    launcher = [torchrun.__file__, "--nproc-per-node=2"]
    seen = run_two(warm, DISPATCHED, root, tmp_path, launcher)
    assert seen == [["refused", "refused"], []]


def test_several_threads_share_an_iterator(root: Path) -> None:
    for trial in range(4):
        loader = gs.Loader(gs.open_dataset(root), 2, crop=16, seed=trial, threads=2)
        batches, errors = iter(loader), []
        seen: list[str] = []

        def take(batches: Any = batches, seen: list[str] = seen, errors: list[BaseException] = errors) -> None:
            try:
                for batch in batches:
                    seen.extend(batch.keys)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(250)
        assert errors == []
        assert Counter(seen) == Counter(loader.dataset.table(["key"])["key"].to_pylist())
        assert loader.epoch == 1
        assert loader.state_dict()["position"] == 0
