"""Whether a run fits into this machine's memory, checked before it starts: the kernel would kill it silently."""

from __future__ import annotations

from pathlib import Path

from genimage_stream.bench.options import Options
from genimage_stream.bench.peers.league import entries
from genimage_stream.loading.options import default_prefetch

THREADS_A_CORE = 8
_ELEMENT_BYTES = {"uint8": 1, "float16": 2, "float32": 4}
_USABLE = 0.8  # of what is available; the rest is for the interpreter, images in flight and the page cache


def available_bytes() -> int | None:
    """Memory that the kernel can give without swapping; None where it is unknown."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def batches_bytes(options: Options) -> int:
    """Bytes of the batches that all loaders of a run keep: two loaders for each number of threads, each with its
    prefetched batches and two more; and of the other loaders' workers."""
    one = options.batch_size * 3 * options.crop**2 * _ELEMENT_BYTES[options.output]
    kept = sum(2 * (default_prefetch(threads, options.batch_size) + 2) for threads in options.threads)
    if options.peers:  # of each worker those that are ready, that are being made and that are being taken
        most = max(options.threads)
        kept += default_prefetch(most, options.batch_size) + 2 + len(entries()[0]) * 4 * most
    return one * kept


def obstacle(options: Options, cores: int, available: int | None) -> str | None:
    """A message if the run would not fit, else None."""
    most = max(options.threads)
    if most > THREADS_A_CORE * cores:
        return (
            f"--threads {most}: at most {THREADS_A_CORE} per core, {THREADS_A_CORE * cores} here; more only take memory"
        )
    needed = batches_bytes(options)
    if available is not None and needed > _USABLE * available:
        return (
            f"--batch-size {options.batch_size} and --crop {options.crop} with {len(options.threads)} numbers of "
            f"threads take {needed / 1e9:.1f} GB of memory for batches, and {available / 1e9:.1f} GB are available: "
            "choose smaller ones, or fewer numbers of --threads"
        )
    return None
