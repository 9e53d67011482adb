"""`genimage-stream cache`: the shards of remote datasets that this machine keeps."""

from __future__ import annotations

import sys
import time

import click

from genimage_stream import command_line
from genimage_stream.addresses import shown

FOLDER = click.option("--cache-dir", metavar="DIR", required=True, help="Folder of the cache, as in open_dataset.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")


@click.group(short_help="Fill, show or empty the cache of remote shards.")
def cache() -> None:
    """Fill, show or empty the folder in which open_dataset(address, cache_dir=DIR) keeps shards.

    Trainings may go on meanwhile: shards in use stay.
    """


@cache.command(short_help="Download a dataset's shards ahead of a training.")
@click.argument("address", metavar="DST")
@FOLDER
@click.option("--cache-size", default="50GB", help="Limit of the folder, all datasets together.")
@click.option("--generators", metavar="A,B", help="Only these generators.")
@click.option("--splits", metavar="train,val", help="Only these splits.")
def warm(address: str, cache_dir: str, cache_size: str, generators: str | None, splits: str | None) -> None:
    """Download the shards of DST, the address of a packed dataset, and check them.

    What is there stays, and nothing is evicted: the exit code is 1 when there was no room for all of them. A command
    that was interrupted goes on when it is given again.
    """

    def work() -> int:
        import numpy as np

        from genimage_stream.dataset.opening import open_dataset
        from genimage_stream.storage.cached import CachedReader

        dataset = open_dataset(address, cache_dir=cache_dir, cache_size=cache_size)
        dataset = dataset.select(generators=command_line.words(generators), splits=command_line.words(splits))
        reader = dataset.access.reader()
        if not isinstance(reader, CachedReader):
            raise ValueError(f"{address} is on a local disk: a cache is for the addresses of object stores")
        codes, paths = dataset.access.shards()
        shards = np.unique(codes[dataset.access.rows]).tolist()
        with command_line.progress("cache", len(shards), done=True) as came:
            fits = reader.warm(shards, lambda shard: came(paths[shard]))
        if fits:
            command_line.line(f"cache: all {len(shards)} shards of {shown(address)} are in {cache_dir}")
            return 0
        command_line.line(
            f"cache: there is no room for all {len(shards)} shards within --cache-size {cache_size}: choose a larger "
            f"one, or fewer with --generators or --splits, or `genimage-stream cache clear --cache-dir {cache_dir}`",
            sys.stderr,
        )
        return 1

    command_line.end("genimage-stream", work, False, expected=(OSError, ValueError))


@cache.command(short_help="Show what is in the folder.")
@FOLDER
@JSON
def status(cache_dir: str, as_json: bool) -> None:
    """Show the datasets in the cache, the one used last first: shards, bytes, last use."""

    def work() -> int:
        from dataclasses import asdict

        from genimage_stream.page.scales import size
        from genimage_stream.storage.cache import contents

        found = contents(cache_dir)
        if as_json:
            print(command_line.json_text({"datasets": [asdict(one) for one in found]}))
            return 0
        command_line.line(f"{'shards':>8}{'size':>10}  {'last used':17} dataset")
        for one in found:
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
            unfinished = f" ({one.unfinished} unfinished)" if one.unfinished else ""
            command_line.line(f"{one.shards:>8,}{size(one.size_bytes):>10}  {used:17} {one.address}{unfinished}")
        total = sum(one.size_bytes for one in found)
        command_line.line(f"{sum(one.shards for one in found):>8,}{size(total):>10}  in {cache_dir}")
        return 0

    command_line.end("genimage-stream", work, as_json, expected=(OSError, ValueError))


@cache.command(short_help="Show it to other nodes.")
@FOLDER
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to listen at.")
@click.option("--port", default=8123, show_default=True, type=click.IntRange(0, 65535))
def serve(cache_dir: str, host: str, port: int) -> None:
    """Serve the complete shards in the folder over HTTP, for reading alone, until Ctrl-C.

    Other nodes give open_dataset(..., peers=["http://THIS-NODE:8123"]). There is no password: with another --host than
    the default everyone who reaches the port can read the shards.
    """

    def work() -> int:
        from genimage_stream.storage.peer_server import PeerServer, is_loopback

        with PeerServer(cache_dir, host, port) as server:
            at = f"http://{host}:{server.server_port}"
            command_line.line(f"cache: serving {cache_dir} at {at}")
            if not is_loopback(host):
                command_line.line("cache: everyone who reaches this port can read the shards", sys.stderr)
            server.serve_forever(poll_interval=0.1)
        return 0

    command_line.end("genimage-stream", work, False, expected=(OSError, ValueError))


@cache.command(short_help="Remove what no process uses.")
@click.argument("address", metavar="[DST]", required=False)
@FOLDER
def clear(address: str | None, cache_dir: str) -> None:
    """Remove the cached shards of DST, or of all datasets, but those that a process is reading."""

    def work() -> int:
        from genimage_stream.storage import cache as shards

        wanted = None if address is None else shown(address).rstrip("/")
        removed, kept = shards.clear(cache_dir, lambda one: wanted in (None, one))
        in_use = f"; {kept} are in use and stay" if kept else ""
        command_line.line(f"cache: {removed} shards removed from {cache_dir}{in_use}")
        return 0

    command_line.end("genimage-stream", work, False, expected=(OSError, ValueError))
