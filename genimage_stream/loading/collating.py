"""`gs.collate_dict`: batches as the dicts that models of transformers take."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from genimage_stream.arguments import WrongKindError
from genimage_stream.loading.batch import Batch


def collate_dict(batches: Batch | Sequence[Batch]) -> dict[str, torch.Tensor]:
    """`pixel_values` (n, 3, height, width) and `labels` int64 (n,) of a batch, or of several joined.

    For `loader.collate_fn`, for `DataLoader(loader.as_iterable_dataset(), batch_size=None, collate_fn=...)`, and as the
    data_collator of transformers' Trainer. Raises TypeError for anything but batches.
    """
    found = [batches] if isinstance(batches, Batch) else list(batches)
    if not found or not all(isinstance(batch, Batch) for batch in found):
        raise WrongKindError(f"{batches!r}: a batch of a loader, or several, is needed")
    if any(batch.view_of is not None for batch in found):
        raise ValueError('batches of views="all" have several images per label: a model needs batch.view_of')
    if len(found) == 1:
        return {"pixel_values": found[0].images, "labels": found[0].labels}
    return {
        "pixel_values": torch.cat([batch.images for batch in found]),
        "labels": torch.cat([batch.labels for batch in found]),
    }
