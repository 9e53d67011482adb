"""Listing objects whose keys are not all paths, such as a//b: obstore refuses a whole listing for one. The clients of
the stores' own makers list them; what is listed is read by obstore as ever."""

from __future__ import annotations

import importlib
import json
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


def list_by_maker(url: str, said: str) -> Iterator[list[tuple[str, int]]]:
    """The (key, size) of all objects below an address, by the client of the store's maker. Raises ToolError where that
    is not installed, with what obstore said."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    package, lists = {
        "s3": ("boto3", _by_boto3),
        "s3a": ("boto3", _by_boto3),
        "gs": ("google-cloud-storage", _by_google),
    }.get(scheme, ("azure-storage-blob azure-identity", _by_azure))
    try:
        pages = lists(bucket, prefix)
    except ImportError:
        raise ToolError(
            f"{url} cannot be listed, for it has objects whose keys are no paths ({said}): rename them, or "
            f"`pip install {package}`, which lists the others"
        ) from None
    for page in pages:
        yield [(key.removeprefix(prefix), size) for key, size in page]


def _by_google(bucket: str, prefix: str) -> Iterator[list[tuple[str, int]]]:
    """By the same credentials and endpoint as obstore: a service account, or else what Google's libraries find."""
    storage = importlib.import_module("google.cloud.storage")
    account: dict[str, Any] = {}
    if key := os.environ.get("GOOGLE_SERVICE_ACCOUNT_KEY"):
        account = json.loads(key)
    elif path := os.environ.get("GOOGLE_SERVICE_ACCOUNT") or os.environ.get("GOOGLE_SERVICE_ACCOUNT_PATH"):
        with open(path, encoding="utf-8") as file:
            account = json.load(file)
    options = {"api_endpoint": account["gcs_base_url"]} if "gcs_base_url" in account else None
    if account.get("disable_oauth") or os.environ.get("GOOGLE_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        nobody = importlib.import_module("google.auth.credentials").AnonymousCredentials()
        client = storage.Client(project="none", credentials=nobody, client_options=options)
    elif account:
        client = storage.Client.from_service_account_info(account, client_options=options)
    else:
        client = storage.Client(client_options=options)
    pages = client.list_blobs(bucket, prefix=prefix).pages
    return ([(blob.name, blob.size) for blob in page] for page in pages)


def _by_azure(container: str, prefix: str) -> Iterator[list[tuple[str, int]]]:
    """By the same credentials and endpoint as obstore: an account's key or SAS, or else what Azure's libraries find."""
    blob = importlib.import_module("azure.storage.blob")
    container, _, host = container.partition("@")  # abfs://container@account.dfs.core.windows.net
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT")
    credential: Any = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY") or os.environ.get("AZURE_STORAGE_ACCESS_KEY")
    if credential is None and (signature := os.environ.get("AZURE_STORAGE_SAS_KEY")):
        credential = importlib.import_module("azure.core.credentials").AzureSasCredential(signature)
    elif credential is None and os.environ.get("AZURE_SKIP_SIGNATURE", "").lower() not in ("1", "true"):
        credential = importlib.import_module("azure.identity").DefaultAzureCredential()
    elif credential is not None:
        credential = {"account_name": account, "account_key": credential}
    client = blob.ContainerClient(endpoint or f"https://{account}.blob.core.windows.net", container, credential)
    pages = client.list_blobs(name_starts_with=prefix).by_page()
    return ([(one.name, one.size) for one in page] for page in pages)


def _by_boto3(bucket: str, prefix: str) -> Iterator[list[tuple[str, int]]]:
    boto3, botocore = importlib.import_module("boto3"), importlib.import_module("botocore")
    config = importlib.import_module("botocore.config").Config
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or None
    options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if endpoint else {}
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        options["signature_version"] = botocore.UNSIGNED
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    client = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config(**options))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return ([(entry["Key"], entry["Size"]) for entry in page.get("Contents", [])] for page in pages)
