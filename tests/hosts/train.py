"""One rank of a run on several hosts: writes what it got, and a state after every step that all ranks have done."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

import genimage_stream as gs


def main(address: str, options: str, folder: str, pause: str) -> None:
    dist.init_process_group("gloo")
    here = Path(folder)
    dataset = gs.open_dataset(address, cache_dir=here / "cache", storage_options=json.loads(options))
    loader = gs.Loader(dataset, 4, crop=16, shuffle="nodes", window=2, threads=1)
    if (here / "state.json").exists():
        loader.load_state_dict(json.loads((here / "state.json").read_text()))
    with (here / f"rank-{dist.get_rank()}.jsonl").open("w") as log:
        for batch in loader:
            log.write(json.dumps([batch.epoch, batch.step, batch.keys]) + "\n")
            log.flush()
            dist.all_reduce(torch.zeros(1))  # everybody has this step
            if int(os.environ["LOCAL_RANK"]) == 0:
                state = json.dumps({**loader.state_dict(), "steps": batch.step + 1})
                (here / "next.json").write_text(state)
                (here / "next.json").replace(here / "after.json")
            time.sleep(float(pause))
    dist.destroy_process_group()


main(*sys.argv[1:])
