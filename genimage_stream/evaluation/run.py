"""`genimage-stream evaluate`: a model's scores of a dataset under each degradation, kept as they come, so that a run
which was killed goes on."""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genimage_stream import recipes
from genimage_stream.arguments import one_of, whole
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.parts import differing_parts
from genimage_stream.evaluation.model import Outputs, load_model, parameters_digest, probabilities
from genimage_stream.evaluation.ranks import Ranks
from genimage_stream.evaluation.scores import NOT_DEGRADED, Scores
from genimage_stream.evaluation.table import Table
from genimage_stream.loading.loader import Batch, Loader
from genimage_stream.loading.schedule import Placement, group_placement
from genimage_stream.transforms.degradations import PUBLISHED, degradations, steps_of_degradation
from genimage_stream.transforms.geometry import CenterCrop
from genimage_stream.transforms.step import Step
from genimage_stream.transforms.views import NAMES, steps_by_view

SCORES_FILE = "scores.parquet"
_PARTS = ".parts"  # scores of a run that is not finished
_NOTE = "evaluation.json"
_NEW = "scores.new"
_RESULTS = (_NEW, "table.md", "table.csv", "table.json", "index.html")
_KEEP_EVERY = 64  # batches


@dataclass(frozen=True)
class Evaluation:
    """What to score, and how. `transform`: the name of a recipe; `degrade`: a published set, or names by commas."""

    model: str
    weights: str | None = None
    outputs: Outputs = "logits"
    transform: str | None = None
    degrade: str | None = None
    views: str | None = None
    stride: int | None = None
    batch_size: int = 64
    device: str | None = None
    threads: int | None = None
    on_error: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        one_of("outputs", self.outputs, ("logits", "probability"))
        one_of("on_error", self.on_error, ("raise", "skip"))
        if (self.transform or "").endswith(":train"):
            raise ValueError(f"--transform {self.transform}: models are evaluated with the recipe's ':eval' part")
        if self.views is not None:
            one_of("views", self.views, NAMES)
        if self.stride is not None:
            whole("stride", self.stride, 1)
            if self.pictures()[2] != "all":
                raise ValueError(f"--stride {self.stride} has no effect without --views all")
        whole("batch_size", self.batch_size, 1)
        self.names()

    def names(self) -> list[str]:
        """The degradations, "none" first. Raises ValueError for one that is none."""
        asked: list[str] = []
        for word in (self.degrade or "").split(","):
            asked += degradations(word) if word.strip().lower() in PUBLISHED else [word.strip()] * bool(word.strip())
        for name in asked:
            steps_of_degradation(name)
        return list(dict.fromkeys([NOT_DEGRADED, *asked]))

    def pictures(self) -> tuple[Sequence[Step], str, str | None]:
        """The steps, normalisation and views: the recipe's, or CenterCrop(224) and ImageNet's."""
        steps: Sequence[Step] = [CenterCrop(224)]
        normalize, views = "imagenet", self.views
        if self.transform is not None:
            found = recipes.resolve(f"{self.transform.removesuffix(':eval')}:eval")
            steps, normalize, views = found.steps, found.normalize or "imagenet", self.views or found.views
        return steps_by_view(steps, "whole")[0] if views == "whole" else steps, normalize, views

    def identity(self, dataset: Dataset, model: Any) -> dict[str, Any]:
        """What scores depend on, JSON-able: those of another run are not to be mixed with them. `model`: what was
        loaded."""
        steps, normalize, views = self.pictures()
        content = None
        if self.weights is not None:
            try:
                content = hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()
            except OSError as error:
                raise ValueError(f"--weights {self.weights}: {error.strerror}") from None
        return {
            "dataset": dataset.access.digest(),
            "model": self.model,
            "weights": content,
            "parameters": parameters_digest(model),
            "outputs": self.outputs,
            "steps": [step.as_json() for step in steps],
            "normalize": normalize,
            "views": views,
            **({} if self.stride is None else {"stride": self.stride}),
        }


def evaluate(dataset: Dataset, what: Evaluation, folder: Path, say: Callable[[str], None]) -> Scores:
    """The scores of every sample under every degradation, on every rank. Parts are kept in `folder`; samples that are
    there from an earlier run, on any number of ranks, are not scored again.

    Raises ValueError for a folder that holds the scores of another model, dataset or transform, and for a model that
    does not give a score for each image.
    """
    rank = _join_group()
    device = _device(what.device)
    model = load_model(what.model, what.weights, device)
    identity = what.identity(dataset, model)
    parts = folder / _PARTS
    if len({json.dumps(one) for one in Ranks().objects(identity)}) > 1:
        raise ValueError(
            f"--model {what.model}: the ranks have unlike datasets or parameters; load weights, or set a seed"
        )
    if rank == 0:
        _claim(folder, identity, [] if dataset.access.parts is None else dataset.access.contributions())
        parts.mkdir(exist_ok=True)
    ranks = Ranks()
    ranks.wait()
    known = Scores.load(dataset, *sorted(parts.glob("*.parquet")), *_finished(folder))
    ranks.wait()  # nobody writes before all have read
    scores = known if rank == 0 else Scores(dataset)
    for name in what.names():
        done = known.of(name) if name in known.degradations else np.full(len(dataset), np.nan)
        rows = np.flatnonzero(np.isnan(done))
        if len(rows):
            _score(dataset, rows, name, what, model, device, scores, parts, say if rank == 0 else _silent)
    return scores.only(what.names()).gather(partial=what.on_error == "skip")


def _score(
    dataset: Dataset,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    name: str,
    what: Evaluation,
    model: Callable[[torch.Tensor], Any],
    device: torch.device,
    scores: Scores,
    parts: Path,
    say: Callable[[str], None],
) -> None:
    """Score the samples at `rows`, this rank's share of them, and write them to `parts` now and then."""
    rank, ranks = group_placement() or Placement(0, 1)
    if rank >= len(rows):
        return  # fewer samples are left than there are ranks
    steps, normalize, views = what.pictures()
    rest = Dataset(dataset.access.with_rows(dataset.index_rows[rows]))
    loader = Loader(
        rest,
        what.batch_size,
        shuffle=False,
        transform=steps,
        normalize=normalize,  # type: ignore[arg-type]
        views=views,  # type: ignore[arg-type]
        stride=what.stride,
        rank=rank,
        world_size=min(ranks, len(rows)),
        degrade=name,
        output="float32",
        threads=what.threads,
        on_error=what.on_error,
    )
    fresh = Scores(dataset)
    for number, batch in enumerate(loader, 1):
        at = rows[batch.rows.numpy()]
        if len(batch):
            p = averaged(_scored(batch, model, device, what), batch)
            scores.add(at, p, degradation=name)
            fresh.add(at, p, degradation=name)
        if number % _KEEP_EVERY == 0 or number == len(loader):
            say(f"{name}: {number:,} of {len(loader):,} batches" if number < len(loader) else f"{name}: done")
            if len(fresh):
                beside = parts / f"{uuid.uuid4().hex}.new"
                fresh.save(beside)
                os.replace(beside, beside.with_suffix(".parquet"))
            fresh = Scores(dataset)


def _scored(batch: Batch, model: Callable[[torch.Tensor], Any], device: torch.device, what: Evaluation) -> torch.Tensor:
    """Probabilities of all images of a batch (images,), as many at a time as batches have samples: views are many.

    Raises ValueError for what is no probability, naming the first such sample.
    """
    images = batch.images.flatten(0, -4)
    parts = [images[at : at + what.batch_size] for at in range(0, len(images), what.batch_size)]
    p = torch.cat([probabilities(model, part.to(device, non_blocking=True), what.outputs).cpu() for part in parts])
    wrong = (~((p >= 0) & (p <= 1))).nonzero().flatten().tolist()  # nan too
    if wrong:
        place = wrong[0] * len(batch) // len(p) if batch.view_of is None else int(batch.view_of[wrong[0]])
        value = float(p[wrong[0]])
        says = "look at its weights and inputs" if math.isnan(value) else "of logits it is made with --outputs logits"
        raise ValueError(
            f"{batch.keys[place]}, and {len(wrong) - 1} other images of its batch: the model's score is {value:g}, no "
            f"probability of 0 to 1; {says}"
        )
    return p


def averaged(p: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The mean probability of each sample's views (n,), of those of all views."""
    if batch.view_of is None:
        return p.reshape(len(batch), -1).mean(1)
    sums = torch.zeros(len(batch), dtype=p.dtype).index_add_(0, batch.view_of, p)
    return sums / torch.bincount(batch.view_of, minlength=len(batch))


def write_results(folder: Path, scores: Scores, table: Table, page: str) -> None:
    """The files of a finished evaluation; the parts are not needed any more then. Scores of other degradations, from
    earlier commands, stay in the file of scores."""
    known = Scores.load(scores.dataset, *(folder / _PARTS).glob("*.parquet"), *_finished(folder))
    kept = Scores(scores.dataset)
    for source, names in ((scores, scores.degradations), (known, known.degradations)):
        for name in names:
            if name not in kept.degradations:
                rows = np.flatnonzero(~np.isnan(source.of(name)))
                kept.add(rows, source.of(name)[rows], degradation=name)
    kept.save(folder / _NEW)
    os.replace(folder / _NEW, folder / SCORES_FILE)
    (folder / "table.md").write_text(table.markdown(), "utf-8")
    table.csv(folder / "table.csv")
    table.json(folder / "table.json")
    (folder / "index.html").write_text(page, "utf-8")
    for part in (folder / _PARTS).iterdir():
        if part.suffix in (".parquet", ".new"):
            part.unlink()
    with suppress(OSError):  # it holds something of others
        (folder / _PARTS).rmdir()


def _finished(folder: Path) -> list[Path]:
    return [folder / SCORES_FILE] if (folder / SCORES_FILE).exists() else []


def _claim(folder: Path, identity: dict[str, Any], joined: list[dict[str, Any]]) -> None:
    """Let the folder be this evaluation's, or find that it is. `joined`: what each of several datasets gives."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"--out {folder} is no folder: choose another --out") from None
    note = folder / _NOTE
    parts = folder / _PARTS
    for file in (parts, note, *(folder / name for name in (SCORES_FILE, *_RESULTS)), *parts.glob("*.parquet")):
        if file.is_symlink():  # what is written there, or removed, would be elsewhere
            raise ValueError(f"{file} is a link: choose another --out, or remove it")
        kind = "folder" if file == parts else "file"
        if file.exists() and not (file.is_dir() if file == parts else file.is_file()):  # a pipe would be waited for
            raise ValueError(f"{file} is not a {kind}: choose another --out, or remove it")
    if note.exists() and (_finished(folder) or list((folder / _PARTS).glob("*.parquet"))):
        try:
            before = json.loads(note.read_text("utf-8"))
        except (ValueError, RecursionError):
            before = {}
        before = before if isinstance(before, dict) else {}
        other = [name for name in identity if before.get(name) != identity[name]]
        if other:
            which = differing_parts(before.get("parts"), joined) if "dataset" in other else ""
            raise ValueError(
                f"{folder} holds the scores of another evaluation ({', '.join(other)} differ{which}): choose another "
                "--out, or remove it"
            )
        return
    if _finished(folder):
        raise ValueError(f"{folder}/{SCORES_FILE} is of something else: choose another --out, or remove it")
    said = {**identity, "parts": joined} if joined else identity
    note.write_text(json.dumps(said, indent=1) + "\n", "utf-8")


def _join_group() -> int:
    """This process's rank, under torchrun in a new process group."""
    dist = torch.distributed
    if dist.is_available() and not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")  # what is exchanged is scores, in host memory
    if dist.is_available() and dist.is_initialized():
        return int(dist.get_rank())
    return 0


def _device(asked: str | None) -> torch.device:
    if asked is None and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        device = torch.device(asked or "cpu")
    except RuntimeError:
        raise ValueError(f"--device {asked}: torch knows no such device; e.g. cpu or cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {asked}: torch sees no GPU")
    return device


def _silent(_: str) -> None:
    pass
