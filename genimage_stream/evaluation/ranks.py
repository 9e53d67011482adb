"""What the ranks of torch.distributed have, on every one of them: arrays of any sizes, plain objects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


class LostRankError(RuntimeError):
    """Another rank has ended."""


class Ranks:
    """The processes of the default group; one alone where there is none.

    Every rank has to make the same calls. Raises LostRankError when another rank is gone.
    """

    def __init__(self) -> None:
        dist: Any = sys.modules.get("torch.distributed")  # a process that has a group has imported it
        self._dist: Any = dist if dist is not None and dist.is_available() and dist.is_initialized() else None
        self.count: int = self._dist.get_world_size() if self._dist else 1

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.objects(None)

    def objects(self, mine: Any) -> list[Any]:
        """Each rank's small object, by rank."""
        if self.count == 1:
            return [mine]
        found: list[Any] = [None] * self.count
        self._call(self._dist.all_gather_object, found, mine)
        return found

    def arrays(self, mine: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Each rank's array (n,), by rank; the same dtype everywhere, n may differ."""
        if self.count == 1:
            return [mine]
        import torch

        sizes = self.objects(len(mine))
        padded = np.zeros(max(sizes), mine.dtype)
        padded[: len(mine)] = mine
        device = self._device()
        sent = torch.from_numpy(padded).to(device)
        received = [torch.empty_like(sent) for _ in sizes]
        self._call(self._dist.all_gather, received, sent)
        return [tensor[:size].cpu().numpy() for tensor, size in zip(received, sizes, strict=True)]

    def _device(self) -> torch.device:
        """Where the group's backend takes tensors from: NCCL has no access to host memory."""
        import torch

        on_gpu = "nccl" in str(self._dist.get_backend())
        return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def _call(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise LostRankError(
                f"the scores of {self.count} ranks cannot be gathered, one of them has probably ended ({reason}): "
                "start all of them again"
            ) from error
