"""What a loader did, and where its time went."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """Counts and times since the loader was made or its statistics were reset.

    `seconds` is the time inside epochs: for `wait_seconds` the consumer waited for the loader (in
    `storage_wait_seconds` of them bytes were missing), for `consumer_seconds` it did something else. `storage_seconds`
    and `decode_seconds` are summed over threads: the time for reading encoded bytes, and for decoding them. `ready` is
    the mean number of finished batches when one was asked for, `queue_depth` the number of batches in work.
    """

    batches: int
    images: int
    bytes: int
    skipped: int
    seconds: float
    wait_seconds: float
    storage_wait_seconds: float
    consumer_seconds: float
    storage_seconds: float
    decode_seconds: float
    ready: float
    queue_depth: int
    threads: int

    @property
    def images_per_second(self) -> float:
        """Images per second inside epochs, the consumer's own time included; 0 before the first batch."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes of the encoded images per second; of crop-ready PNGs in local files fewer are read."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str:
        """What has to be faster: `consumer`, `storage` or `decode`; `none` before the first batch.

        The consumer, if it waited for less than a tenth of the time; otherwise what it waited for longer.
        """
        if not self.batches:
            return "none"
        if self.wait_seconds < 0.1 * self.seconds:
            return "consumer"
        return "storage" if self.storage_wait_seconds > self.wait_seconds / 2 else "decode"

    def __str__(self) -> str:
        share = self.wait_seconds / self.seconds if self.seconds else 0.0
        return (
            f"{self.images_per_second:.0f} images/s, {self.bytes_per_second / 1e6:.1f} MB/s; "
            f"the consumer waited {share:.0%} of the time; threads: {self.storage_seconds:.1f} s reading, "
            f"{self.decode_seconds:.1f} s decoding; {self.ready:.1f} of {self.queue_depth} batches ready; "
            f"slowest: {self.bottleneck}"
        )


class StatsCounter:
    """Sums what epochs report; several epochs may run in parallel."""

    def __init__(self, queue_depth: int, threads: int) -> None:
        self._lock = threading.Lock()
        self._shape = (queue_depth, threads)
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._counts = {"batches": 0, "images": 0, "bytes": 0, "skipped": 0, "ready": 0}
            self._times = {"wait": 0.0, "storage_wait": 0.0, "consumer": 0.0, "storage": 0.0, "decode": 0.0}

    def add(
        self,
        *,
        images: int,
        size_bytes: int,
        skipped: int,
        ready: int,
        wait: float,
        storage_wait: float,
        storage: float,
        decode: float,
    ) -> None:
        """Count a batch that was handed over."""
        with self._lock:
            counts, times = self._counts, self._times
            counts["batches"] += 1
            counts["images"] += images
            counts["bytes"] += size_bytes
            counts["skipped"] += skipped
            counts["ready"] += ready
            times["wait"] += wait
            times["storage_wait"] += storage_wait
            times["storage"] += storage
            times["decode"] += decode

    def left_out(self, images: int) -> None:
        """Count images as skipped that were counted as handed over: their pairs do not decode."""
        with self._lock:
            self._counts["images"] -= images
            self._counts["skipped"] += images

    def consumer(self, seconds: float) -> None:
        with self._lock:
            self._times["consumer"] += seconds

    def snapshot(self) -> Stats:
        with self._lock:
            counts, times = self._counts, self._times
            depth, threads = self._shape
            return Stats(
                batches=counts["batches"],
                images=counts["images"],
                bytes=counts["bytes"],
                skipped=counts["skipped"],
                seconds=times["wait"] + times["consumer"],
                wait_seconds=times["wait"],
                storage_wait_seconds=times["storage_wait"],
                consumer_seconds=times["consumer"],
                storage_seconds=times["storage"],
                decode_seconds=times["decode"],
                ready=counts["ready"] / max(1, counts["batches"]),
                queue_depth=depth,
                threads=threads,
            )


now = time.perf_counter
