"""Where the commands `shard-tools` (also `python -m shard_tools`) and `genimage-stream` begin.

Both begin in this package, which can be imported where the compiled part of genimage_stream cannot: then one sentence
says why.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module


def main() -> None:
    # numpy brings a BLAS that starts a thread per core when it is loaded, and they spin while they wait; nothing here
    # multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _begin("shard-tools", "shard_tools.cli")


def genimage_stream() -> None:
    _begin("genimage-stream", "genimage_stream.cli")


def _begin(command: str, module: str) -> None:
    try:
        cli = import_module(module)
    except ImportError as error:  # a compiled part that is missing or cannot be loaded
        print(f"{command}: {error}", file=sys.stderr)
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
