"""Answers of web servers that never end, count wrongly or hold control characters: each is an error of its file."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from genimage_stream.storage.remote import RemoteStore

OK = b"HTTP/1.1 200 OK\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"
PART = b"HTTP/1.1 206 Partial Content\r\n"
SPAN = b"Content-Range: bytes 0-9/10\r\n"


@contextmanager
def saying(answer: bytes, rest: bytes = b"") -> Iterator[str]:
    """The address of a server that answers each request with these bytes, and then with `rest` without end."""

    def serve(connection: socket.socket) -> None:
        with closing(connection):
            try:
                while connection.recv(1 << 16):
                    connection.sendall(answer)
                    while rest:
                        connection.sendall(rest)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def refused(address: str) -> None:
    store = RemoteStore(address, {"timeout": 20, "retries": 0, "pause": 0.01, "patience": 0.1})
    with pytest.raises(OSError, match=f"{address}/a.tar") as size:
        store.size("a.tar")
    with pytest.raises(OSError, match=f"{address}/a.tar") as read:
        store.read_range("a.tar", 0, 10)
    for said in (size.value, read.value):
        assert str(said).startswith(f"{address}/a.tar")
        assert str(said).isprintable()


NINES = b"9" * 5000
GO = b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: "
LENGTHS = [b"abc", b"-5", NINES, b"\xb2", b"", b"1e3"]
SPANS = [b"0-9/" + NINES, b"0-" + NINES + b"/10", NINES + b"-9/10", b"-1-9/10", b"0-9/-10"]
WAITS = [b"\xb2", NINES, b"-1", b"Mon, 99 Jan 99999 99:99:99 GMT", b"Fri, 31 Dec 9999 23:59:59 -9999"]
PLACES = [b"http://" + b"a" * 300 + b".com/", b"http://a..b/", b"ftp://\x1b[2J/", b"http://\x1b[2J:x/", b"\x1b]0;x\x07"]
FORGED = b"<Error><Code>\x1b[2J\r\nFORGED</Code><Message>\x1b]0;title\x07</Message></Error>"


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        (PART + SPAN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"Trailer: x\r\n"),
        (PART + SPAN + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        *((OK + b"Content-Length: " + length + b"\r\n\r\n", b"") for length in LENGTHS),
        *(
            (PART + b"Content-Length: 10\r\nContent-Range: bytes " + span + b"\r\n\r\n0123456789", b"")
            for span in SPANS
        ),
        (b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */" + NINES + b"\r\n\r\n", b""),
        *((BUSY + b"Retry-After: " + wait + b"\r\n\r\n", b"") for wait in WAITS),
        *((GO + place + b"\r\n\r\n", b"") for place in PLACES),
        (b"HTTP/1.1 400 No\r\nContent-Length: %d\r\n\r\n" % len(FORGED) + FORGED, b""),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_the_file(answer: bytes, rest: bytes) -> None:
    with saying(answer, rest) as address:
        refused(address)
