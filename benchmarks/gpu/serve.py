"""One contestant in a process of its own, so that none disturbs another: python -m benchmarks.gpu.serve NAME FILE

Requests come as JSON, one a line, on standard input, answers go to standard output; see `answer`. Whatever libraries
print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks.gpu.contestants import CONTESTANTS, Source
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.training import GpuTimeline, HostTimeline, Timeline, train
from benchmarks.peers.serve import usage

_AHEAD = 2  # batches that the host runs ahead of the GPU, so that its clock knows how many are ready


class Server:
    def __init__(self, name: str, setting: Setting) -> None:
        self._contestant = CONTESTANTS[name]
        self._setting = setting
        self._open: tuple[str, Source] | None = None
        self._timeline: Timeline = GpuTimeline() if setting.on_gpu else HostTimeline()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"do": "open", "stream"}: begins it and takes the first batches; {"do": "rate", "stream", "seconds"}: goes on
        with it; {"do": "train", "steps"}: a training step fed from the mix."""
        if request["do"] == "open":
            source = self._source(request["stream"])
            for _ in range(3):
                images, labels = next(source.batches)
            shape = (len(labels), 3, self._setting.crop, self._setting.crop)
            if tuple(images.shape) != shape or images.device.type != self._setting.device.partition(":")[0]:
                raise ValueError(f"a batch of {tuple(images.shape)} on {images.device} is not what was asked for")
            return {}
        if request["do"] == "rate":
            return self._rate(self._source(request["stream"]), request["seconds"])
        return train(self._source("mixed").batches, self._setting, steps=request["steps"], settle=request["settle"])

    def _source(self, stream: str) -> Source:
        """One at a time, since they hold memory of the GPU."""
        if self._open is None or self._open[0] != stream:
            if self._open is not None:
                self._open[1].batches.close()  # type: ignore[attr-defined]
                self._open = None
            self._open = stream, self._contestant.open(self._setting, stream)
        return self._open[1]

    def _rate(self, source: Source, seconds: float) -> dict[str, Any]:
        """Images in ready batches on the device, wall time, CPU time of all processes; `begin` and `end` by the clock
        that all processes share."""
        for _ in range(source.queued):
            next(source.batches)
        self._timeline.wait(self._timeline.mark())
        cpu, begin = usage(os.getpid())[0], time.monotonic()
        images = 0
        marks: deque[Any] = deque()
        while time.monotonic() - begin < seconds:
            images += len(next(source.batches)[0])
            marks.append(self._timeline.mark())
            if len(marks) > _AHEAD:
                self._timeline.wait(marks.popleft())
        self._timeline.wait(self._timeline.mark())
        end = time.monotonic()
        used = usage(os.getpid())[0] - cpu
        return {"images": images, "seconds": end - begin, "cpu_seconds": used, "begin": begin, "end": end}


def about(setting: Setting) -> dict[str, Any]:
    if not setting.on_gpu:
        return {"gpu": None, "uuid": None}
    import torch

    torch.cuda.set_device(setting.gpu)
    facts = torch.cuda.get_device_properties(setting.gpu)
    uuid = getattr(facts, "uuid", None)
    return {"gpu": facts.name, "uuid": None if uuid is None else f"GPU-{uuid}"}


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    try:
        setting = Setting.load(Path(sys.argv[2]))
        server = Server(sys.argv[1], setting)
        print(json.dumps(about(setting)), file=answers)
        for line in sys.stdin:
            print(json.dumps(server.answer(json.loads(line))), file=answers)
    except Exception as error:  # whatever a contestant raises is the answer
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]}), file=answers)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
