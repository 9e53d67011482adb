"""Where the command `shard-tools`, and `python -m shard_tools`, begins."""

from __future__ import annotations

import os


def main() -> None:
    # numpy brings a BLAS that starts a thread per core when it is loaded, and they spin while they wait; nothing here
    # multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from shard_tools import cli

    cli.main()


if __name__ == "__main__":
    main()
