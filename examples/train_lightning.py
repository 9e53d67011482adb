"""Train a detector with Lightning; started again, it goes on from the last checkpoint, inside an epoch too.

python examples/train_lightning.py shards --out run --devices 2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytorch_lightning as pl  # or: import lightning.pytorch as pl
import torch
from train_ddp import make_model

import genimage_stream as gs


class Detector(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()

    def training_step(self, batch: gs.Batch, _: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.model(batch.images), batch.labels)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: gs.Batch, _: int) -> None:
        right = (self.model(batch.images).argmax(1) == batch.labels).float()
        self.log("accuracy", right.mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the folder or address of the shards")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder of the checkpoints (default: run)")
    parser.add_argument("--generators", nargs="+", default=["sd14"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64, help="of one process")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=200, help="steps from one checkpoint to the next")
    options = parser.parse_args()

    dataset = gs.open_dataset(options.dataset).select(generators=options.generators, splits=["train"])
    train, held_out = dataset.split(0.9, 0.1)
    # The loader finds its rank itself; a callback that comes with the package keeps its place in checkpoints.
    loader = gs.Loader(train, options.batch_size, crop=224, flip=True, output="float32", drop_last=True)
    validation = gs.Loader(held_out, options.batch_size, crop=224, shuffle=False, output="float32")
    saved = pl.callbacks.ModelCheckpoint(options.out, save_last=True, every_n_train_steps=options.save_every)
    trainer = pl.Trainer(
        max_epochs=options.epochs, devices=options.devices, callbacks=[saved], default_root_dir=options.out
    )
    last = options.out / "last.ckpt"
    trainer.fit(Detector(), loader, validation, ckpt_path=str(last) if last.exists() else None)


if __name__ == "__main__":
    main()
