"""Shows the complete shards of a cache to other nodes over HTTP: for reading, and nothing else of the disk."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from genimage_stream.storage.cache import CachedShard, open_shard

AT_ONCE = 32  # requests that are answered; more wait
_IDLE_SECONDS = 30  # after which a connection is closed
_PIECE = 1 << 20
_NAME = re.compile(r"[0-9a-f]{24}(/[\w+ -][\w.+ -]*)*/[\w+ -][\w.+ -]*\.tar")  # no part begins with a point
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


class PeerServer(ThreadingHTTPServer):
    """Serves the cache in `folder` at (host, port) once `serve_forever` is called."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, folder: str | Path, host: str, port: int) -> None:
        self.folder = Path(folder).expanduser().resolve(strict=True)
        self.turns = threading.Semaphore(AT_ONCE)
        super().__init__((host, port), _Answer)

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no error."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: PeerServer

    def log_message(self, *_: Any) -> None:
        pass

    def version_string(self) -> str:
        return "genimage-stream"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.server.turns:
            held = self._held()
            if held is None:
                self._say(404)
                return
            with held:
                self._send(held)

    def _held(self) -> CachedShard | None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        return open_shard(self.server.folder, path) if _NAME.fullmatch(path) else None

    def _send(self, held: CachedShard) -> None:
        size = held.size()
        asked = self.headers.get("Range")
        span = _RANGE.fullmatch(asked or "")
        start, end = (int(span[1]), min(int(span[2]) + 1, size)) if span else (0, size)
        if asked is not None and (span is None or start >= end):
            self._say(416, {"Content-Range": f"bytes */{size}"})
            return
        fields = {"Content-Length": end - start, "Content-Type": "application/x-tar"}
        if span:
            fields["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._say(206 if span else 200, fields)
        while self.command == "GET" and start < end and (data := held.read(start, min(_PIECE, end - start))):
            self.wfile.write(data)
            start += len(data)

    def _say(self, status: int, fields: dict[str, Any] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": 0, **(fields or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


__all__ = ["PeerServer", "is_loopback"]
