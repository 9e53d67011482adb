"""Addresses of object stores (s3://, gs://, az://), opened through obstore for sources and targets alike.

Credentials and endpoints come from the environment, as every tool of the store reads them: AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, ...
"""

from __future__ import annotations

import os
from typing import Any

from genimage_stream.remedies import no_credentials, sentence
from shard_tools.errors import TargetError, ToolError

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")


def is_object_url(path: str) -> bool:
    return path.partition("://")[0] in SCHEMES and "://" in path


def open_store(url: str, error: type[ToolError] = TargetError) -> Any:
    """An obstore store for an address. Raises `error` when obstore is missing or the address is none."""
    try:
        from obstore.store import from_url
    except ImportError as missing:
        raise error(f"{url}: object stores need obstore: pip install 'genimage-stream[s3]'") from missing
    client: dict[str, Any] = {"connect_timeout": "10s", "timeout": "600s"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", ""))
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    try:
        # One request for each removal: not every server of this protocol knows the bulk one.
        config = {"aws_disable_bulk_delete": "true"} if url.startswith("s3") else None
        return from_url(url, config=config, client_options=client)  # type: ignore[call-overload]
    except Exception as failed:
        reason = first_line(failed)
        raise error(f"{url}: {no_credentials(reason) or reason}") from failed


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def failed(what: str, error: BaseException, remedy: str) -> str:
    """The message for an error of a store: with the remedy that the error itself suggests, or else this one."""
    said = f"{what}: {first_line(error)}"
    suggested = sentence(OSError(said))
    return f"{said}; {remedy}" if suggested == said else suggested
