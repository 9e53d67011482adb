"""One contestant in a process of its own (genimage_stream/bench/process.py): python -m benchmarks.gpu.serve NAME FILE

`Server.answer` lists the requests, and `checks.answer` those for a NAME that is no contestant's.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu import checks
from benchmarks.gpu.contestants import CONTESTANTS, Source
from benchmarks.gpu.setting import DECODERS, Setting
from benchmarks.gpu.training import GpuTimeline, HostTimeline, Timeline, train
from genimage_stream.bench.process import Answer, Request, serve, usage

_AHEAD = 2  # batches that the host runs ahead of the GPU, so that its clock knows how many are ready


class Server:
    def __init__(self, name: str, setting: Setting) -> None:
        self._contestant = CONTESTANTS[name]
        self._setting = setting
        self._open: tuple[str, Source] | None = None
        self._timeline: Timeline = GpuTimeline() if setting.on_gpu else HostTimeline()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"do": "open", "stream"}: begins it, takes the first batches and says how it works; {"do": "rate", "stream",
        "seconds"}: goes on with it; {"do": "train", "steps"}: a training step fed from the mix."""
        if request["do"] == "open":
            source = self._source(request["stream"])
            for _ in range(3):
                images, labels = next(source.batches)
            shape = (len(labels), 3, self._setting.crop, self._setting.crop)
            if tuple(images.shape) != shape or images.device.type != self._setting.device.partition(":")[0]:
                raise ValueError(f"a batch of {tuple(images.shape)} on {images.device} is not what was asked for")
            return {"options": source.options, "libraries": mapped()}
        if request["do"] == "rate":
            return self._rate(self._source(request["stream"]), request["seconds"])
        return self._train(request["steps"], request["settle"])

    def _source(self, stream: str) -> Source:
        """One at a time, since they hold memory of the GPU."""
        if self._open is None or self._open[0] != stream:
            self._close()
            self._open = stream, self._contestant.open(self._setting, stream)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].batches.close()  # type: ignore[attr-defined]
            self._open = None

    def _train(self, steps: int, settle: int) -> dict[str, Any]:
        try:
            return dict(train(self._source("mixed").batches, self._setting, steps=steps, settle=settle))
        except Exception:
            with contextlib.suppress(Exception):
                self._close()  # so that what comes next begins anew
            raise
        finally:
            if self._setting.on_gpu:
                import torch

                torch.cuda.empty_cache()  # the others need the memory of the model

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


def mapped(maps: Path = Path("/proc/self/maps")) -> list[str] | None:
    """Those of DECODERS that this process has loaded; None where that cannot be found out."""
    try:
        files = maps.read_text()
    except OSError:
        return None
    return [name for name in DECODERS if f"/{name}.so" in files]


def start() -> tuple[Answer, Callable[[Request], Answer]]:
    """The contestant that the command line names, or the one that answers questions about pixels."""
    setting, name = Setting.load(Path(sys.argv[2])), sys.argv[1]
    answer = Server(name, setting).answer if name in CONTESTANTS else partial(checks.answer, setting)
    return about(setting), answer


if __name__ == "__main__":
    serve(start)
    sys.stderr.flush()
    os._exit(0)  # what CUDA, DALI and workers do at the end of an interpreter takes seconds, or does not end
