"""Predicts this loader's speed on 16, 64 and 128 cores from figures measured on a small machine.

    python -m benchmarks.model            prints the table; `python -m benchmarks.readme` puts it into docs/scaling.md

The rate is the smallest of what cores, memory, the consumer's interpreter and storage allow. Per-image figures are from
benchmarks/results/scaling.json and index_size.json; what is assumed of the larger machines is in `MACHINES` below
and is printed beside the result.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.chart import line_chart
from benchmarks.harness import RESULTS

BATCH = 64
OUTPUT_BYTES = {"float32": 3 * 224 * 224 * 4, "uint8": 3 * 224 * 224}


@dataclass(frozen=True)
class Machine:
    """Assumed, not measured. `memory`: bytes/s of the sockets together, as data sheets give it; `network`: bits/s."""

    cores: int
    memory: float
    network: float


MACHINES = (Machine(16, 100e9, 25e9), Machine(64, 205e9, 50e9), Machine(128, 460e9, 100e9))
MEMORY_SHARE = 0.6  # of a data sheet's memory bandwidth that mixed reads and writes reach
NETWORK_SHARE = 0.9  # of a link that payload reaches
DOUBLING = 0.95  # what a core keeps of its speed for each doubling of the cores: clock, shared caches, memory latency
NVME_BYTES = 5.6e9  # bytes/s of one drive at random reads of 100 kB and more: 80 % of a 7 GB/s data sheet
NVME_LATENCY = 100e-6  # seconds before the first byte
STORE_LATENCY = 30e-3  # seconds an object store takes for one range request
STORE_PARALLEL = 64  # requests at once, the loader's default


@dataclass(frozen=True)
class Costs:
    """Measured, per image: seconds of CPU with one thread, bytes stored, bytes read from local files."""

    cpu: float
    stored: float
    read: float
    interpreter: float  # seconds of the consumer's thread per batch of 64

    def traffic(self, output: str, read: float) -> float:
        """Bytes through memory: encoded bytes read, copied and read again; the batch fetched, written, read once.

        What lies between, decoded rows, is taken to stay in the caches.
        """
        return 3 * read + 3 * OUTPUT_BYTES[output]


def measured(scaling: Mapping[str, Any], index: Mapping[str, Any], kind: str) -> Costs:
    one = scaling["threads"]["1"][kind]
    largest = index["sizes"][max(index["sizes"], key=int)]
    return Costs(
        cpu=one["cpu_us_per_image"] * 1e-6,
        stored=one["bytes_per_image"],
        read=one["read_bytes_per_image"],
        interpreter=statistics.median(largest["interpreter_seconds_per_batch"]),
    )


def keeps(cores: int, measured_on: int) -> float:
    """The share of its speed that a core keeps when there are `cores`."""
    return float(DOUBLING ** max(0.0, math.log2(cores / measured_on)))


def limits(
    machine: Machine, costs: Costs, storage: str, *, measured_on: int = 2, output: str = "float32"
) -> dict[str, float]:
    """Images per second that each part allows by itself. `storage`: memory, nvme, store or store-tuned."""
    cpu = costs.cpu / keeps(machine.cores, measured_on)
    found = {}
    waiting = 0.0
    if storage == "nvme":
        waiting = NVME_LATENCY + costs.read / NVME_BYTES  # a thread reads its sample, then decodes it
        found["storage"] = NVME_BYTES / costs.read
    elif storage.startswith("store"):
        # As from local files: of large crop-ready PNGs only the bands of the crop. Their second range is not counted.
        found["network"] = NETWORK_SHARE * machine.network / 8 / costs.read
        if storage == "store":
            found["requests"] = STORE_PARALLEL / STORE_LATENCY
    found["cores"] = machine.cores / (cpu + waiting)
    found["memory bandwidth"] = MEMORY_SHARE * machine.memory / costs.traffic(output, costs.read)
    found["consumer"] = BATCH / costs.interpreter
    return found


STORAGES = {
    "memory": "page cache",
    "nvme": "one NVMe drive",
    "store": "object store, defaults",
    "store-tuned": "object store, requests enough",
}


def prediction(scaling: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """Markdown: what was put in, and a row per machine and storage with the rate and what sets it."""
    cpus = int(scaling["machine"]["cpus"])
    kinds = {kind: measured(scaling, index, kind) for kind in ("original", "crop-ready")}
    lines = ["Measured, per image (`benchmarks/results/scaling.json`, `index_size.json`):", ""]
    lines += [
        "| shards | CPU, us | stored, kB | read from local files, kB | interpreter, us |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, one in kinds.items():
        cells = (one.cpu * 1e6, one.stored / 1e3, one.read / 1e3, one.interpreter / BATCH * 1e6)
        lines.append(f"| {kind} | " + " | ".join(f"{value:,.0f}" for value in cells) + " |")
    lines += ["", "Predicted images per second, float32 batches, one process, and what sets the limit:", ""]
    lines += ["| cores | storage | original shards | crop-ready shards |", "|---:|---|---:|---:|"]
    for machine in MACHINES:
        for storage, name in STORAGES.items():
            cells_of = []
            for one in kinds.values():
                found = limits(machine, one, storage, measured_on=cpus)
                what = min(found, key=lambda part: found[part])
                cells_of.append(f"{rounded(found[what]):,} ({what})")
            lines.append(f"| {machine.cores} | {name} | {' | '.join(cells_of)} |")
    lines += ["", "What each part by itself would allow, crop-ready shards on one NVMe drive, images per second:", ""]
    lines += [
        "| cores | cores | storage | memory, float32 | memory, uint8 | consumer |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for machine in MACHINES:
        found = limits(machine, kinds["crop-ready"], "nvme", measured_on=cpus)
        small = limits(machine, kinds["crop-ready"], "nvme", measured_on=cpus, output="uint8")
        values = [found["cores"], found["storage"], found["memory bandwidth"], small["memory bandwidth"]]
        cells_of = [f"{rounded(value):,}" for value in [*values, found["consumer"]]]
        lines.append(f"| {machine.cores} | {' | '.join(cells_of)} |")
    return "\n".join(lines)


def rounded(value: float) -> int:
    """Two significant digits: a prediction has no more."""
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits) if digits > 0 else round(value / 10**-digits) * 10**-digits  # type: ignore[return-value]


def chart(scaling: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """Predicted rate over cores, crop-ready shards, by storage."""
    cpus = int(scaling["machine"]["cpus"])
    costs = measured(scaling, index, "crop-ready")
    series = {}
    for storage, name in STORAGES.items():
        values = [min(limits(machine, costs, storage, measured_on=cpus).values()) for machine in MACHINES]
        series[name] = [
            (float(machine.cores), value, value, value) for machine, value in zip(MACHINES, values, strict=True)
        ]
    title = "Predicted, not measured: images per second by cores, crop-ready shards"
    return line_chart(series, title, x_label="cores", y_label="images/s")


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """The results that the prediction is based on. Raises FileNotFoundError before they were recorded."""
    scaling, index = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("scaling", "index_size"))
    return scaling, index


def main() -> int:
    print(prediction(*load()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
