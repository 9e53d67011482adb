"""Listing a bucket of S3 whose keys are not all paths, such as a//b: obstore refuses a whole listing for one."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from typing import Any

from shard_tools.errors import ToolError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def oddity(key: str) -> str | None:
    """Why obstore cannot read the object with a key; None: it can."""
    if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
        return "its key has an empty folder name, or one of dots: rename the object"
    return "its key has control characters: rename the object" if _CONTROL.search(key) else None


def list_with_boto3(url: str) -> Iterator[list[tuple[str, int]]]:
    """The (key, size) of all objects below an address of S3, by boto3. Raises ToolError where that is not installed."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    try:
        boto3, botocore = importlib.import_module("boto3"), importlib.import_module("botocore")
        config = importlib.import_module("botocore.config").Config
    except ImportError:
        raise ToolError(
            f"{url} has objects whose keys are no paths, such as a//b: rename them, or `pip install boto3`, which "
            "lists the others"
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or None
    options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if endpoint else {}
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        options["signature_version"] = botocore.UNSIGNED
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    client = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config(**options))
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield [(entry["Key"].removeprefix(prefix), entry["Size"]) for entry in page.get("Contents", [])]
