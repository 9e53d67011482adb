"""Test a detector on the val images of every generator: accuracy of reals, of fakes, of all, and the mean.

    python examples/evaluate.py shards run/checkpoint.pt

The model is that of train.py.
"""

from __future__ import annotations

import argparse

import torch
from train import make_model

import genimage_stream as gs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the folder or address of the shards")
    parser.add_argument("checkpoint", help="written by train.py")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--crop", type=int, default=224)
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = make_model().to(device).eval()
    model.load_state_dict(torch.load(options.checkpoint, map_location=device, weights_only=True)["model"])
    dataset = gs.open_dataset(options.dataset)
    accuracies = []
    print(f"{'generator':12} {'real':>7} {'fake':>7} {'all':>7}")
    for generator in dataset.generators:
        val = dataset.select(generators=[generator], splits=["val"])
        if not len(val):
            continue
        right, count = torch.zeros(2), torch.zeros(2)
        # Without shuffling every image comes exactly once, cropped at its centre.
        for batch in gs.Loader(val, options.batch_size, crop=options.crop, shuffle=False, output="float32"):
            with torch.inference_mode():
                predicted = model(batch.images.to(device)).argmax(1).cpu()
            for label in (0, 1):
                of_label = batch.labels == label
                right[label] += (predicted[of_label] == label).sum()
                count[label] += of_label.sum()
        real, fake = (100 * right / count).tolist()  # nan where a generator has no images of a label
        accuracies.append(100 * right.sum().item() / count.sum().item())
        print(f"{generator:12} {real:6.1f}% {fake:6.1f}% {accuracies[-1]:6.1f}%")
    print(f"{'mean':12} {'':7} {'':7} {sum(accuracies) / len(accuracies):7.1f}%")


if __name__ == "__main__":
    main()
