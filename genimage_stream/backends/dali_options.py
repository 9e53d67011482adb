"""How DALI works, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genimage_stream.arguments import WrongKindError, flag, whole
from genimage_stream.resources import cores

OLDEST = 2  # major version of DALI: the dynamic executor of earlier ones lacks combinations that are used here
_INSTALL = 'pip install ".[dali-cuda12]" (or ".[dali-cuda13]") in the checkout of genimage-stream'


@dataclass(frozen=True)
class DaliOptions:
    """How DALI works.

    * `hw_decoder_load`: the share of JPEGs, from 0 to 1, for the GPU's hardware decoder; its CUDA kernels get the rest.
    * `threads`: DALI's own CPU threads; by default 4 where there are 8 CPUs or more, else 2.
    * `ahead`: the number of batches that DALI works on at once.
    * `check`: decode on the CPU as well, so that damage inside a JPEG's coded data, which DALI paints over, is an error
      as with `backend="cpu"`. By default (None) True in DALI's CPU mode and False on a GPU, where the check costs as
      much as the GPU saves.

    Raises ValueError for a value outside of these.
    """

    hw_decoder_load: float = 0.9
    threads: int = field(default_factory=lambda: 4 if cores() >= 8 else 2)
    ahead: int = 3
    check: bool | None = None

    def __post_init__(self) -> None:
        share = self.hw_decoder_load
        if isinstance(share, bool) or not isinstance(share, (int, float, np.number)):
            raise WrongKindError(f"hw_decoder_load={share!r}: a share from 0 to 1 is needed")
        if not 0 <= share <= 1:
            raise ValueError(f"hw_decoder_load={share!r}: a share from 0 to 1 is needed")
        object.__setattr__(self, "threads", whole("threads", self.threads, 1))
        object.__setattr__(self, "ahead", whole("ahead", self.ahead, 1))
        if self.check is not None:
            object.__setattr__(self, "check", flag("check", self.check))


def load_dali() -> Any:
    """The `nvidia.dali` package. Raises ImportError, saying what to install, when it is missing or too old, and what is
    wrong when it is installed and does not load."""
    try:
        import nvidia.dali
        import nvidia.dali.fn
        import nvidia.dali.types
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):  # e.g. of a library that it is linked with
            raise ImportError(
                f'backend="dali": NVIDIA DALI is installed and cannot be loaded: {error}. backend="cpu" works without.'
            ) from error
        raise ImportError(f'backend="dali" needs NVIDIA DALI: {_INSTALL}. backend="cpu" works without it.') from error
    version = str(nvidia.dali.__version__)
    if int(version.partition(".")[0]) < OLDEST:
        raise ImportError(
            f'backend="dali" needs NVIDIA DALI {OLDEST}.0 or newer, not {version}: {_INSTALL}. backend="cpu" works '
            "without it."
        )
    return nvidia.dali
