"""Whether a run fits into this machine's memory, asked before it begins: the kernel would end it without a word."""

from __future__ import annotations

from pathlib import Path

from genimage_stream.arguments import default_prefetch
from genimage_stream.bench.options import Options

THREADS_A_CORE = 8
_ELEMENT_BYTES = {"uint8": 1, "float16": 2, "float32": 4}
_USABLE = 0.8  # of what is available; the rest is for the interpreter, images on their way and the page cache


def available_bytes() -> int | None:
    """What the kernel can give without swapping; None where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def batches_bytes(options: Options) -> int:
    """Of the batches that all loaders of a run keep: two for each number of threads, each with those it prefetches and
    two more."""
    one = options.batch_size * 3 * options.crop**2 * _ELEMENT_BYTES[options.output]
    kept = sum(2 * (default_prefetch(threads, options.batch_size) + 2) for threads in options.threads)
    return one * kept


def obstacle(options: Options, cores: int, available: int | None) -> str | None:
    """A sentence where the run would not fit."""
    most = max(options.threads)
    if most > THREADS_A_CORE * cores:
        return f"--threads {most}: {THREADS_A_CORE} a core at most, {THREADS_A_CORE * cores} here; more just take room"
    needed = batches_bytes(options)
    if available is not None and needed > _USABLE * available:
        return (
            f"--batch-size {options.batch_size} and --crop {options.crop} with {len(options.threads)} numbers of "
            f"threads take {needed / 1e9:.1f} GB of memory for batches, and {available / 1e9:.1f} GB are available: "
            "choose smaller ones, or fewer numbers of --threads"
        )
    return None
