"""The worker process of the local engine: takes shard tasks from a socket until it closes."""

from __future__ import annotations

import sys
import traceback
from multiprocessing.connection import Connection

from genimage_stream.decode.image import share_memory
from shard_tools.errors import ToolError
from shard_tools.readers import Readers
from shard_tools.shard import write_shard


def main() -> None:
    descriptor, gate, workers = map(int, sys.argv[1:4])
    connection = Connection(descriptor)
    share_memory(gate, workers)
    try:
        containers, storage = connection.recv()
        readers = Readers(containers)
        while True:
            task = connection.recv()
            try:
                result = write_shard(task, readers, storage, lambda *counts: connection.send(("progress", counts)))
            except ToolError as error:
                connection.send(("error", error))
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                connection.send(("crash", traceback.format_exc()))
            except Exception:
                connection.send(("crash", traceback.format_exc()))
            else:
                connection.send(("done", result))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more work, or is gone
