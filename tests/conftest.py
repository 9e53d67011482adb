"""For all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.fixtures.s3 import S3Server, s3_server

# A shell starts what runs in its background with Ctrl-C ignored, and ignoring is inherited; the tests of Ctrl-C are
# about programs that somebody runs in front of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store on this machine."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
