"""Test detectors on the val images of every generator: a table of each, and the matrix of all.

    python examples/evaluate_matrix.py shards sd14=run-sd14/checkpoint.pt biggan=run-biggan/checkpoint.pt --out tables

Under torchrun the ranks share the images. The model is that of train_ddp.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from train_ddp import make_model

import genimage_stream as gs


def score(val: gs.Dataset, checkpoint: str, options: argparse.Namespace) -> gs.Table:
    """The table of one model; every image is scored exactly once, over all ranks, under each degradation."""
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
    model = make_model().to(device).eval()
    model.load_state_dict(torch.load(checkpoint, map_location=device, weights_only=True)["model"])
    scores = gs.Scores(val)
    degradations = ["none", *gs.degradations(options.degrade)] if options.degrade else ["none"]
    for degradation in degradations:
        loader = gs.Loader(
            val, options.batch_size, crop=options.crop, shuffle=False, output="float32", degrade=degradation
        )
        for batch in loader:
            with torch.inference_mode():
                fake = model(batch.images.to(device)).softmax(1)[:, 1]
            scores.add(batch, fake, degradation=degradation)
    return scores.gather().table(by=["subset", "degradation"] if options.degrade else "subset")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the folder or address of the shards")
    parser.add_argument("models", nargs="+", metavar="NAME=CHECKPOINT", help="written by train_ddp.py")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--degrade", help="a published set of degradations, e.g. genimage")
    parser.add_argument("--out", type=Path, default=Path("tables"))
    options = parser.parse_args()
    if "RANK" in os.environ:  # started by torchrun
        dist.init_process_group("gloo")  # what is exchanged is scores, in host memory

    val = gs.open_dataset(options.dataset).select(splits=["val"])
    tables = {name: score(val, path, options) for name, path in (model.split("=", 1) for model in options.models)}
    if not dist.is_initialized() or dist.get_rank() == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.csv(options.out / f"{name}.csv")
            print(f"\n{name}\n\n{table.markdown()}")
        print(f"\nAccuracy: models are rows, generators are columns\n\n{gs.matrix(tables).markdown()}")


if __name__ == "__main__":
    main()
    if dist.is_initialized():
        dist.destroy_process_group()
