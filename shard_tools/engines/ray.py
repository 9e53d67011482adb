"""The plan carried out by a Ray cluster, or by Ray on this machine.

A task is a shard. Sources and destination have to be reachable under the same paths from every node (shared storage
or an object store), and this package has to be installed there. Ray runs the task of a lost worker again; since a
task's bytes depend on nothing but the task, the result is that of the local engine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterable, Sequence
from importlib import import_module
from typing import Any

from shard_tools.addresses import first_line
from shard_tools.errors import ToolError
from shard_tools.readers import Readers
from shard_tools.shard import Report, ShardResult, ShardTask, write_shard
from shard_tools.sources.base import Container
from shard_tools.target.local_storage import Storage

RETRIES = 5  # of a task whose worker or node was lost
CONNECT_SECONDS = 10.0
_REMEDY = "start the cluster, correct RAY_ADDRESS, or unset it to start Ray on this machine"


def run(
    tasks: Iterable[ShardTask], containers: Sequence[Container], storage: Storage, workers: int, report: Report
) -> Generator[ShardResult, None, None]:
    """Carry out the tasks; results come in the order of completion.

    Connects to the cluster of RAY_ADDRESS (`auto`: the one this machine belongs to), or starts Ray here. `workers`
    bounds the tasks under way; 0: as many as the cluster has CPUs. Raises the first ToolError of any task.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ToolError("--engine ray needs Ray: pip install 'genimage-stream[ray]'") from error
    begun = not ray.is_initialized()
    if begun:
        address = os.environ.get("RAY_ADDRESS")
        here: dict[str, Any] = {} if address else {"num_cpus": workers or None, "include_dashboard": False}
        check_reachable(address)
        try:
            ray.init(address=address, logging_level="error", log_to_driver=False, **here)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            where = (
                f"the Ray cluster of RAY_ADDRESS={address} does not answer" if address else "Ray does not start here"
            )
            raise ToolError(f"{where}: {first_line(error)}; {_REMEDY}") from error
    try:
        yield from _carry_out(ray, tasks, containers, storage, workers, report)
    finally:
        if begun:
            ray.shutdown()


def check_reachable(address: str | None) -> None:
    """Ray itself tries for minutes to reach an address where no server responds."""
    host, colon, port = (address or "").rpartition("://")[2].partition("/")[0].rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ToolError(
            f"the Ray cluster of RAY_ADDRESS={address} cannot be reached: {first_line(error)}; {_REMEDY}"
        ) from error


def _carry_out(
    ray: Any,
    tasks: Iterable[ShardTask],
    containers: Sequence[Container],
    storage: Storage,
    workers: int,
    report: Report,
) -> Generator[ShardResult, None, None]:
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(carry_out)
    shared = ray.put((list(containers), storage))
    at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    todo = iter(tasks)
    running: dict[Any, ShardTask] = {}
    while True:
        # A few more than run at once, so that no node waits for the driver; not all, so that plans stay small in
        # memory.
        while len(running) < at_once + 2:
            task = next(todo, None)
            if task is None:
                break
            running[remote.remote(shared, task)] = task
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        task = running.pop(done[0])
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayError as error:
            raise ToolError(
                f"Ray could not write {task.path} ({type(error).__name__}: {str(error).strip().splitlines()[-1]}); run "
                "the same command again to go on"
            ) from error
        if isinstance(result, ToolError):
            raise result
        report(len(task.items), sum(item.where.size for item in task.items), len(result.quarantined))
        yield result


def carry_out(shared: tuple[Sequence[Container], Storage], task: ShardTask) -> ShardResult | ToolError:
    """One task, in a Ray worker."""
    containers, storage = shared
    readers = Readers(containers)
    try:
        return write_shard(task, readers, storage, lambda *counts: None)
    except ToolError as error:
        return error
    finally:
        readers.close()
