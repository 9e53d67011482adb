"""The bottleneck in one sentence.

Each thread of the loader reads a sample and decodes it, so the expected speed end to end is that of both one after the
other: 1 / (1/storage + 1/decoding). Much less than that means that something else limits it.
"""

from __future__ import annotations

from dataclasses import dataclass

from genimage_stream.page.scales import percent

EXPLAINED = 0.75  # of the expected speed


@dataclass(frozen=True)
class Verdict:
    """`bottleneck`: "storage", "decode" or "other"; `sentence` states it with the figures and what would help."""

    bottleneck: str
    sentence: str


def judge(
    *,
    storage: float,
    decode: float,
    end_to_end: float,
    threads: int,
    most: int,
    cores: int,
    crop_ready: bool,
    remote: bool,
    cached: float | None = None,
    alike: bool = False,
) -> Verdict:
    """The verdict from images per second of storage (as the run met it), of decoding from memory and end to end.

    `threads` gave the speed end to end, `most` were tried. `cached`: the share of the samples that the run found in the
    page cache, where that is known. `alike`: the slices of decoding and of end to end overlap in their speeds.
    """
    reading = f"reading alone ({percent(cached, 0)} of the samples from the page cache)" if cached else "storage alone"
    expected = 1 / (1 / storage + 1 / decode)
    unexplained = end_to_end < EXPLAINED * expected
    spread = ""
    if alike and not unexplained:
        spread = ", the same within the spread,"
    elif end_to_end > decode:  # impossible: it is the same work and more
        spread = ", slowed by other work on the machine,"
    figures = (
        f"{end_to_end:,.0f} images/s end to end with {_threads(threads)}, while decoding from memory gives "
        f"{decode:,.0f}{spread} and {reading} {storage:,.0f}"
    )
    if unexplained:
        return Verdict(
            "other",
            f"Neither storage nor decoding explains the speed ({figures}): other work on the machine takes the cores, "
            "or memory is slow; run again on an idle machine.",
        )
    if storage < decode and end_to_end < 1.25 * storage:  # faster than storage: a cache served the samples
        help_ = "a cache on a local disk (cache_dir)" if remote else "a faster disk, or the shards in memory"
        help_ = f'{help_}, or reading shard by shard (shuffle="shards") would help'
        return Verdict("storage", f"Storage is the bottleneck: {figures}; {help_}.")
    if threads < most <= cores:
        help_ = f"{_threads(most)} were no faster on {cores} cores: other work takes them, or memory is slow"
    elif most < cores:
        help_ = f"more threads would help, there are {cores} cores"
    elif not crop_ready:
        help_ = "more cores would help, and so would shards packed with --crop-ready"
    else:
        help_ = "more cores would help"
    return Verdict("decode", f"Decoding is the bottleneck: {figures}; {help_}.")


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
