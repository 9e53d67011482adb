"""`gs.gather`: what all ranks have, where they do not have the same number of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from genimage_stream.arguments import WrongKindError
from genimage_stream.evaluation.ranks import Ranks

if TYPE_CHECKING:
    import torch

T = TypeVar("T", "torch.Tensor", "list[object]")


def gather(mine: T) -> T:
    """A tensor (n, ...) or a list of every rank, joined in the order of the ranks, on every rank. n may differ, which
    `accelerator.gather` and `torch.distributed.all_gather` do not notice: in the last step of an epoch it does.

    Of one step, labels, scores or `batch.keys` come in the order of the epoch. Every rank has to call it. The tensors
    have one dtype and, but for n, one shape. Raises TypeError for anything else, RuntimeError when a rank is gone.
    """
    import torch

    ranks = Ranks()
    if isinstance(mine, list):
        return [one for part in ranks.objects(mine) for one in part]
    if not isinstance(mine, torch.Tensor) or mine.ndim == 0:
        raise WrongKindError(f"{mine!r}: a tensor with a first dimension of samples, or a list, is needed")
    raw = mine.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    joined = np.concatenate(ranks.arrays(raw))
    if not joined.size:  # which has no strides to be seen as another type by
        return mine.detach()
    return torch.from_numpy(joined).view(mine.dtype).reshape(-1, *mine.shape[1:]).to(mine.device)
