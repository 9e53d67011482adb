"""Train a detector with accelerate; started again, it goes on from the last checkpoint, inside an epoch too.

accelerate launch --num_processes 2 examples/train_accelerate.py shards --out run
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from train_ddp import make_model

import genimage_stream as gs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the folder or address of the shards")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder of the checkpoint (default: run)")
    parser.add_argument("--generators", nargs="+", default=["sd14"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64, help="of one process")
    parser.add_argument("--save-every", type=int, default=200, help="steps from one checkpoint to the next")
    parser.add_argument("--max-steps", type=int, help="end this run after that many steps, with a checkpoint")
    options = parser.parse_args()

    accelerator = Accelerator()
    train = gs.open_dataset(options.dataset).select(generators=options.generators, splits=["train"])
    loader = gs.Loader(train, options.batch_size, crop=224, flip=True, output="float32", drop_last=True)
    torch.manual_seed(0)
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)  # the loader comes back unchanged
    accelerator.register_for_checkpointing(loader)
    checkpoint = options.out / "checkpoint"
    if checkpoint.exists():
        accelerator.load_state(str(checkpoint))

    def save() -> None:
        accelerator.save_state(str(checkpoint))

    steps = 0
    while loader.epoch < options.epochs:  # the epoch that comes next, or goes on after load_state
        for batch in loader:
            batch = batch.to(accelerator.device)  # noqa: PLW2901
            loss = torch.nn.functional.cross_entropy(model(batch.images), batch.labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            steps += 1
            if steps == options.max_steps:
                save()
                return
            if steps % options.save_every == 0:
                save()
        save()
        accelerator.print(f"epoch {loader.epoch - 1}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
