"""Train a detector on any number of GPUs (or CPUs), with checkpoints from which a run goes on exactly where it was.

    torchrun --standalone --nproc-per-node 4 examples/train_ddp.py shards --out run

Started again with the same command, it goes on from `run/checkpoint.pt`; the number of processes may be another one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

import genimage_stream as gs


def make_model() -> nn.Module:
    """A small stand-in: put your own detector here. It gives two numbers per image, for real and for fake."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 5, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)),
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the folder or address of the shards")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder of the checkpoint (default: run)")
    parser.add_argument("--generators", nargs="+", default=["sd14"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64, help="of one process")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--save-every", type=int, default=200, help="steps from one checkpoint to the next")
    parser.add_argument("--max-steps", type=int, help="end this run after that many steps, with a checkpoint")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where that is safe")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if "RANK" in os.environ:  # started by torchrun
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    first = not dist.is_initialized() or dist.get_rank() == 0
    local_rank, ranks_here = (int(os.environ.get(name, n)) for name, n in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")

    train = gs.open_dataset(options.dataset).select(generators=options.generators, splits=["train"])
    loader = gs.Loader(
        train,
        options.batch_size,
        crop=options.crop,
        flip=True,
        seed=0,
        output="float32",
        channels_last=True,
        drop_last=True,  # every rank gets the same number of samples in every step
        threads=max(1, len(os.sched_getaffinity(0)) // ranks_here),  # the ranks of a machine share its CPUs
    )
    torch.manual_seed(0)
    model = make_model().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
        start = saved["epoch"]
    ranks = nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model

    def save(epoch: int) -> None:
        if first:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "loader": loader.state_dict(), "epoch": epoch}, checkpoint.with_suffix(".new"))
            os.replace(checkpoint.with_suffix(".new"), checkpoint)  # a run killed while saving keeps the old one

    steps = 0
    for epoch in range(start, options.epochs):
        total, begun = torch.zeros((), device=device), steps
        for batch in loader:  # after load_state_dict: the rest of the epoch that was interrupted
            images = batch.images.to(device, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.amp):
                loss = nn.functional.cross_entropy(ranks(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            steps += 1
            if steps == options.max_steps:
                save(epoch)
                return
            if steps % options.save_every == 0:
                save(epoch)
        save(epoch + 1)
        if first and steps > begun:
            print(f"epoch {epoch}: mean loss {total.item() / (steps - begun):.4f}; {loader.stats()}", flush=True)
            loader.reset_stats()


if __name__ == "__main__":
    main()
    if dist.is_initialized():
        dist.destroy_process_group()
