"""Which device batches are on."""

from __future__ import annotations

import torch

from genimage_stream.arguments import WrongKindError


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The torch device of `device`; None is the CPU. Raises ValueError for a device that batches cannot be on,
    RuntimeError for a GPU that torch does not see."""
    named = f"device={device!r}"
    if not isinstance(device, (str, torch.device, type(None))):
        raise WrongKindError(f'{named}: a name is needed, "cpu", "cuda" or, of several GPUs, "cuda:1"')
    try:
        found = torch.device(device if device is not None else "cpu")
    except RuntimeError:
        raise ValueError(f'{named} is no device of torch: "cpu", "cuda" or, of several GPUs, "cuda:1"') from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"{named}: batches can be on the CPU or on a CUDA device")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"{named}: torch sees no CUDA device. Install a CUDA build of torch and a driver, or omit "
                'device: backend="cpu" (and backend="dali" in its CPU mode) work without a GPU.'
            )
        if found.index is None:
            found = torch.device("cuda", torch.cuda.current_device())
        if found.index >= (count := torch.cuda.device_count()):
            raise RuntimeError(f"{named}: there is no such GPU, torch sees {count}, the last is cuda:{count - 1}")
    return found
