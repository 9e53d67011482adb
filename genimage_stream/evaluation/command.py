"""What `genimage-stream evaluate` does with its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from genimage_stream.dataset.opening import open_dataset
from genimage_stream.evaluation.page import render
from genimage_stream.evaluation.ranks import Ranks
from genimage_stream.evaluation.run import Evaluation, evaluate, write_results
from genimage_stream.evaluation.table import Reals, Table


def run(
    destinations: Sequence[str],
    options: Mapping[str, Any],
    *,
    out: str,
    split: str,
    generators: Sequence[str] | None,
    reals: Reals,
    say: Callable[[str], None],
) -> Table | None:
    """Evaluate and write everything to `out`; the table, None on ranks but the first.

    Raises ValueError or OSError, in a sentence, for options, models and folders that do not fit.
    """
    what = Evaluation(**options)
    splits = None if split == "all" else [split]
    dataset = open_dataset(destinations).select(splits=splits, generators=generators)
    folder = Path(out)
    scores = evaluate(dataset, what, folder, say)
    dist = torch.distributed
    if dist.is_available() and dist.is_initialized():
        rank = dist.get_rank()
        Ranks().wait()
        dist.destroy_process_group()
        if rank:
            return None
    names = scores.degradations
    table = scores.table(by="subset" if len(names) == 1 else ["subset", "degradation"], reals=reals)
    steps, normalize, views = what.pictures()
    about = [
        ("Dataset", f"{dataset.path}, split {split}"),
        ("Model", what.model),
        ("Weights", what.weights or "as the function returns them"),
        ("Transform", ", ".join(map(repr, steps)) or "none"),
        ("Normalisation", normalize),
        ("Views", views or "one"),
        ("Reals", "of each subset" if reals == "own" else "of all subsets"),
        ("Degradations", ", ".join(names)),
        ("Versions", f"genimage-stream {version('genimage-stream')}, torch {torch.__version__}"),
    ]
    page = render(scores, what.model, about, f"Made by genimage-stream evaluate on {dataset.path}.", reals)
    write_results(folder, scores, table, page)
    say(f"{folder}: scores.parquet, table.md, table.csv, table.json, index.html")
    return table
