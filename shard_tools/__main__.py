"""Where the command `shard-tools`, and `python -m shard_tools`, begins."""

from __future__ import annotations

import os
import sys


def main() -> None:
    # numpy brings a BLAS that starts a thread per core when it is loaded, and they spin while they wait; nothing here
    # multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from shard_tools import cli
    except ImportError as error:  # a compiled part that is missing or cannot be loaded
        print(f"shard-tools: {error}", file=sys.stderr)
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
