"""Which of many processes plans, so that one does and the others wait.

This saves work and decides nothing: processes that plan at the same time make the same plan, of which one is published.
Only the order of events is looked at, and how long this process itself has seen nothing new: clocks of other machines
play no part, and no lock has to be released by a machine that is gone.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator

from genimage_stream.schema import PACK_FOLDER
from shard_tools.errors import ToolError
from shard_tools.growth.held import remove_folders
from shard_tools.target.local_storage import Storage
from shard_tools.terminal.progress import Progress

PLANNER = f"{PACK_FOLDER}/planner"
BEAT = 5.0  # seconds between two signs of life
PATIENCE = 60.0  # seconds without one, after which another process plans
SHORTEST, LONGEST = 0.05, 2.0  # seconds between two looks


class Turn:
    def __init__(self, storage: Storage, progress: Progress) -> None:
        self._storage, self._progress = storage, progress
        self._name = f"process {os.getpid()} of {os.uname().nodename}, {os.urandom(8).hex()}"
        root = storage.local_path()
        self._new = root if root is not None and not os.path.lexists(root) else None
        self._seen: bytes | None = None
        self._since = 0.0
        self._patience = PATIENCE * random.uniform(1, 1.5)  # so that not all of those who wait take over at once
        self._pause = SHORTEST

    def is_ours(self) -> bool:
        """Whether it is this process that has to plan now."""
        if self._storage.write_new(PLANNER, self._sign(0)):
            return True
        seen = self._storage.read(PLANNER)
        if seen is None:
            return False
        now = time.monotonic()
        if seen != self._seen:
            if self._seen is None:
                holder = seen.decode("utf-8", "replace").partition(",")[0]
                self._progress.say(f"waiting for the plan, which {holder} makes")
            self._seen, self._since = seen, now
        elif now - self._since > self._patience:
            self._progress.say("nothing is heard of the process that plans: planning here")
            self._storage.write(PLANNER, self._sign(0), durable=False)
            return True
        return False

    def wait(self) -> None:
        time.sleep(self._pause)
        self._pause = min(LONGEST, 1.5 * self._pause)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Give signs of life, and in the end the turn back."""
        over = threading.Event()

        def live() -> None:
            beats = 0
            while not over.wait(BEAT):
                beats += 1
                with contextlib.suppress(ToolError):
                    self._storage.write(PLANNER, self._sign(beats), durable=False)

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with contextlib.suppress(ToolError, OSError):
                self._storage.remove(PLANNER)
                remove_folders(self._storage)
                if self._new is not None:
                    os.rmdir(self._new)  # where there is no plan, there is nothing else

    def _sign(self, beats: int) -> bytes:
        return f"{self._name}, {beats}\n".encode()
