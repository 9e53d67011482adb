"""Files of a web server without TLS, by HTTP/1.1 on the event loop.

obstore reads the other addresses. Without TLS anybody on the way may answer, so this client looks closely: what a
server sends is bounded by what was asked for, redirects lead to no link-local address (clouds keep machines'
credentials there; over TLS obstore follows no redirect to an address without TLS), and Retry-After is heeded.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from genimage_stream.addresses import is_link_local, shown, split_credentials
from genimage_stream.storage.errors import WHOLE_FILES, PastEndError, StoreError, failure
from genimage_stream.storage.patience import PassingError

_HEAD_BYTES = 64 << 10  # of an answer, at most
_REASON_BYTES = 2048  # of a refusal's text
_REDIRECTS = 5
_CONNECT_SECONDS = 5.0
_EMPTY_ANSWERS = 20  # lines of trailers, or answers that only announce another one


class Facts(NamedTuple):
    """Of a file: its size in bytes, and what tells its versions apart."""

    size: int
    version: str


class _Head(NamedTuple):
    status: int
    fields: dict[str, str]


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.used = False
        self.stalled = False
        self._fed = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, seconds: float) -> None:
        """Break the connection when nothing comes for so long."""
        self._fed = time.monotonic()
        self._look(seconds)

    def _look(self, seconds: float) -> None:
        left = self._fed + seconds - time.monotonic()
        if left <= 0:
            self.stalled = True
            self.writer.transport.abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self._look, seconds)

    def rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def read(self, most: int) -> bytes:
        data = await self.reader.read(most)
        self._fed = time.monotonic()
        return data

    async def read_into(self, memory: memoryview) -> None:
        at = 0
        while at < len(memory):
            data = await self.read(min(len(memory) - at, 1 << 20))
            if not data:
                raise asyncio.IncompleteReadError(b"", len(memory))
            memory[at : at + len(data)] = data
            at += len(data)

    async def line(self) -> bytes:
        data = await self.reader.readline()
        self._fed = time.monotonic()
        return data

    async def head(self) -> _Head:
        text = b""
        while not text.endswith((b"\r\n\r\n", b"\n\n")):
            line = await self.line()
            if not line:
                raise asyncio.IncompleteReadError(text, None)
            text += line
            if len(text) > _HEAD_BYTES:
                raise ValueError("its header does not end")
        first, *rest = text.decode("latin-1").splitlines()
        if not (found := re.fullmatch(r"HTTP/1\.[01] ([1-5]\d\d)(?: .*)?", first)):
            raise ValueError("it does not speak HTTP/1.1")
        fields: dict[str, str] = {}
        for field in rest:
            name, colon, value = field.partition(":")
            if colon:
                fields[name.strip().lower()] = value.strip()
        return _Head(int(found[1]), fields)

    async def answer(self, method: str, span: tuple[int, int] | None) -> tuple[_Head, bytearray, bool]:
        """Head and body of the answer to a request, and whether the connection is good for another one."""
        head = await self.head()
        for _ in range(_EMPTY_ANSWERS):
            if head.status >= 200:
                break
            head = await self.head()
        else:
            raise ValueError("it only announces others")
        if method == "HEAD" or head.status in (204, 304):
            body, whole = bytearray(), True
        else:
            wanted = span is not None and head.status in (200, 206)
            body, whole = await self.body(head, span[1] - span[0] if span is not None and wanted else _REASON_BYTES)
        return head, body, whole and head.fields.get("connection", "").lower() != "close"

    async def body(self, head: _Head, most: int) -> tuple[bytearray, bool]:
        """At most `most` bytes of the body, and whether that is all of it and the connection is good for more."""
        if "chunked" in head.fields.get("transfer-encoding", "").lower():
            return await self._chunks(most)
        if "content-length" in head.fields:
            length = _number(head.fields["content-length"])
            memory = bytearray(min(length, most))
            await self.read_into(memoryview(memory))
            return memory, length <= most
        parts = bytearray()
        while len(parts) <= most and (data := await self.read(most + 1 - len(parts))):
            parts += data
        return parts[:most], False

    async def _chunks(self, most: int) -> tuple[bytearray, bool]:
        parts = bytearray()
        while True:
            size = int((await self.line()).split(b";")[0].strip() or b"-", 16)
            if size == 0:
                for _ in range(_EMPTY_ANSWERS):
                    if not (await self.line()).strip():
                        return parts, True
                return parts, False
            if size < 0 or len(parts) + size > most:
                return parts, False
            chunk = bytearray(size)
            await self.read_into(memoryview(chunk))
            parts += chunk
            await self.line()


class HttpFiles:
    """The files below an http:// address. `headers` are sent with every request to its server."""

    def __init__(self, address: str, headers: dict[str, str], timeout: float, keep: int) -> None:
        plain, authorization = split_credentials(address)
        self._base = urlsplit(plain)
        self._headers = {"User-Agent": "genimage-stream", **headers}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._timeout = timeout
        self._keep = keep
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        self._local_allowed = is_link_local(self._base.hostname or "")
        self._without_head = False

    async def head(self, path: str) -> Facts:
        """Size and version of a file. Raises FileNotFoundError, StoreError, PassingError, as all of these do."""
        if not self._without_head:
            head, _ = await self._ask(path, "HEAD", None)
            if head.status in (405, 501) or (head.status == 200 and "content-length" not in head.fields):
                self._without_head = True
            elif head.status == 200:
                return _facts(head, _size(head.fields["content-length"]))
            else:
                raise failure(head.status, "", head.fields.get("retry-after"))
        return (await self.get(path, 0, 1))[1]

    async def get(self, path: str, start: int, end: int) -> tuple[bytearray, Facts]:
        """The bytes start .. end of a file, fewer where it ends, and its facts."""
        head, body = await self._ask(path, "GET", (start, end))
        if head.fields.get("content-encoding", "identity") != "identity":
            raise StoreError("this server compresses the files: switch that off for them")
        if head.status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", head.fields.get("content-range", ""))
            first, last = (_size(span[1]), _size(span[2])) if span is not None else (-1, -1)
            if span is None or first != start or len(body) != last + 1 - start or last >= end:
                raise StoreError(
                    "this server sends other ranges than it is asked for: use one that answers range requests"
                )
            return body, _facts(head, _size(span[3]))
        if head.status == 200:
            raise StoreError(WHOLE_FILES)
        if head.status == 416:
            total = re.fullmatch(r"bytes \*/(\d+)", head.fields.get("content-range", ""))
            if total is not None and _size(total[1]) == 0 == start:
                return bytearray(), _facts(head, 0)
            raise PastEndError
        raise failure(head.status, body.decode("utf-8", "replace"), head.fields.get("retry-after"))

    async def _ask(self, path: str, method: str, span: tuple[int, int] | None) -> tuple[_Head, bytearray]:
        base = self._base
        target = f"http://{base.netloc}{base.path.rstrip('/')}/{quote(path)}" + (f"?{base.query}" if base.query else "")
        for hop in range(_REDIRECTS + 1):
            head, body = await self._exchange(target, method, span, foreign=hop > 0)
            if head.status not in (301, 302, 303, 307, 308) or "location" not in head.fields:
                return head, body
            try:
                target = urljoin(target, head.fields["location"])
                scheme = urlsplit(target).scheme
            except ValueError:
                raise StoreError(f"redirected to {shown(head.fields['location'])!r}, which is no address") from None
            if scheme != "http":
                raise StoreError(f"redirected to {shown(target)}: give that address itself")
        raise StoreError(f"redirected more than {_REDIRECTS} times, the last time to {shown(target)}")

    async def _exchange(
        self, target: str, method: str, span: tuple[int, int] | None, *, foreign: bool
    ) -> tuple[_Head, bytearray]:
        parts = urlsplit(target)
        try:
            where = parts.hostname or "", parts.port or 80
        except ValueError:
            raise StoreError(f"redirected to {shown(target)}, which is no address") from None
        mine = where == (self._base.hostname, self._base.port or 80)
        proxy = _proxy(where[0])
        host, port = proxy or where
        addresses = await _resolve(host, port)
        if foreign and not mine and not self._local_allowed:
            named = [where[0]] if proxy else addresses
            if any(is_link_local(one) for one in named):
                raise StoreError(
                    f"redirected to {shown(target)}, a link-local address where machines keep credentials: refused; do "
                    "not use this server unless you know why it does that"
                )
        line = target.partition("#")[0] if proxy else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity"}
        fields |= self._headers if mine else {"User-Agent": self._headers["User-Agent"]}
        if span is not None:
            fields["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        request = "".join([f"{method} {line} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in fields.items()), "\r\n"])
        while True:
            connection = await self._connect(addresses, port)
            whole = False
            try:
                connection.watch(self._timeout)
                connection.writer.write(request.encode("latin-1"))
                head, body, whole = await connection.answer(method, span)
                return head, body
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if connection.stalled:
                    raise _stalled(self._timeout) from None
                if not (connection.used and getattr(error, "partial", None) == b""):  # else the server had closed it
                    raise PassingError("the connection broke before the answer was complete") from None
            except ValueError as error:
                raise StoreError(f"this server's answer makes no sense ({error})") from None
            finally:
                connection.rest()
                idle = self._idle.setdefault((addresses[0], port), [])
                if whole and len(idle) < self._keep:
                    idle.append(connection)
                else:
                    connection.writer.transport.abort()

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _connect(self, addresses: list[str], port: int) -> _Connection:
        idle = self._idle.get((addresses[0], port), [])
        while idle:
            connection = idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                connection.used = True
                return connection
        reason: Exception = OSError("no address")
        for address in addresses[:4]:
            try:
                opened = asyncio.open_connection(address, port, limit=_HEAD_BYTES)
                return _Connection(*await asyncio.wait_for(opened, min(_CONNECT_SECONDS, self._timeout)))
            except asyncio.TimeoutError:
                reason = _stalled(min(_CONNECT_SECONDS, self._timeout))
            except OSError as error:
                reason = PassingError(f"error sending request: {os.strerror(error.errno) if error.errno else error}")
        raise reason


def _number(text: str) -> int:
    """The number of bytes that a header's field says. Raises ValueError for what is none."""
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise ValueError(f"{shown(text[:40])!r} is no number of bytes")
    return int(text)


def _size(text: str) -> int:
    try:
        return _number(text)
    except ValueError as error:
        raise StoreError(f"this server's answer makes no sense ({error})") from None


def _stalled(seconds: float) -> PassingError:
    return PassingError(f"no byte for {seconds:g} s (`timeout` in storage_options)", slow=True)


def _facts(head: _Head, size: int) -> Facts:
    return Facts(size, f"{head.fields.get('etag') or head.fields.get('last-modified')}-{size}")


def _proxy(host: str) -> tuple[str, int] | None:
    """Where to send requests for a host, by HTTP_PROXY and NO_PROXY."""
    proxies = getproxies()
    if "http" not in proxies or proxy_bypass(host):
        return None
    found = urlsplit(proxies["http"] if "://" in proxies["http"] else f"http://{proxies['http']}")
    return (found.hostname, found.port or 80) if found.hostname else None


async def _resolve(host: str, port: int) -> list[str]:
    try:
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PassingError(f"error sending request: {host} has no address ({error.strerror})") from None
    except UnicodeError:
        raise StoreError(f"{host[:80]!r} is no name of a server") from None
    return [entry[4][0] for entry in found]
