"""Objects whose keys are no paths: one of them does not hide the others, and is named."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pyarrow.parquet as pq
import pytest
from PIL import Image

from genimage_stream.remedies import printable
from tests.shard_tools.conftest import shard_tools_here

ODD = ["ai//1_adm_1.png", "ai/../1_adm_2.png", "ai/./1_adm_3.png", "ai/1_adm_\t4.png", "ai/1_adm_\n5.png"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The objects of s3://bucket, in answers of three keys each."""
    objects: dict[str, bytes] = {}

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            key = unquote(asked.path.removeprefix("/bucket").lstrip("/"))
            if query.get("comp") == "list":
                self.give(as_azure(objects, query), kind="application/xml")
                return
            if asked.path.startswith("/storage/v1/"):
                self.give(as_google(objects, query), kind="application/json")
                return
            if "list-type" not in query:
                self.give(objects[key]) if key in objects else self.give(b"", 404)
                return
            prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
            keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
            page = keys[:3]
            encoded = query.get("encoding-type") == "url"
            contents = "".join(
                f"<Contents><Key>{quote(key) if encoded else key}</Key><Size>{len(objects[key])}</Size>"
                "<LastModified>2024-01-01T00:00:00Z</LastModified><ETag>x</ETag></Contents>"
                for key in page
            )
            more = f"<NextContinuationToken>{quote(page[-1])}</NextContinuationToken>" if len(keys) > 3 else ""
            body = f"<IsTruncated>{str(len(keys) > 3).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>{more}"
            body += "<EncodingType>url</EncodingType>" * encoded
            self.give(f"<ListBucketResult>{body}{contents}</ListBucketResult>".encode())

        def give(self, body: bytes, status: int = 200, kind: str = "application/octet-stream") -> None:
            self.send_response(status)
            for name, value in (("Content-Length", len(body)), ("ETag", "x"), ("Content-Type", kind)):
                self.send_header(name, str(value))
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    yield objects
    server.shutdown()
    server.server_close()


def as_google(objects: dict[str, bytes], query: dict[str, str]) -> bytes:
    """An answer of Google's own interface, which its client speaks; three keys each."""
    keys = sorted(key for key in objects if key.startswith(query["prefix"]) and key > query.get("pageToken", ""))
    found: dict[str, Any] = {"items": [{"name": key, "size": str(len(objects[key]))} for key in keys[:3]]}
    return json.dumps(found | ({"nextPageToken": keys[2]} if len(keys) > 3 else {})).encode()


def as_azure(objects: dict[str, bytes], query: dict[str, str]) -> bytes:
    """An answer of Azure's store, three keys each."""
    keys = sorted(k for k in objects if k.startswith(query.get("prefix", "")) and k > query.get("marker", ""))
    facts = "<Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified><Etag>x</Etag><BlobType>BlockBlob</BlobType>"
    blobs = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties><Content-Length>{len(objects[key])}</Content-Length>"
        f"<Content-Type>image/png</Content-Type>{facts}</Properties></Blob>"
        for key in keys[:3]
    )
    marker = f"<NextMarker>{escape(keys[2])}</NextMarker>" if len(keys) > 3 else "<NextMarker/>"
    return f"<EnumerationResults><Blobs>{blobs}</Blobs>{marker}</EnumerationResults>".encode()


def fill(objects: dict[str, bytes]) -> None:
    for i in range(5):
        for folder, name in (("ai", f"1_adm_{i:03d}.png"), ("nature", f"n01440764_{i}.png")):
            to = io.BytesIO()
            Image.new("RGB", (20, 20), (i, len(folder), 9)).save(to, "PNG")
            objects[f"src/adm/train/{folder}/{name}"] = to.getvalue()


@pytest.mark.parametrize("odd", ODD)
def test_the_others_are_packed_and_it_is_named(bucket: dict[str, bytes], tmp_path: Any, odd: str) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed: scripts/setup.sh --tests")
    fill(bucket)
    bucket[f"src/adm/train/{odd}"] = b"x"
    done = shard_tools_here("pack", "s3://bucket/src", tmp_path / "dataset")
    assert done.code == 0, done.err
    assert pq.read_metadata(tmp_path / "dataset" / "index.parquet").num_rows == 10
    (named,) = pq.read_table(tmp_path / "dataset" / "quarantine.parquet").to_pylist()
    assert named["source"].endswith(printable(odd))
    assert named["reason"].endswith("rename the object")


def test_without_boto3_the_error_says_what_is_odd(
    bucket: dict[str, bytes], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket)
    bucket["src/adm/train/ai//x.png"] = b"x"
    monkeypatch.setitem(sys.modules, "boto3", None)
    done = shard_tools_here("scan", "s3://bucket/src")
    assert done.code == 2
    assert "keys are no paths" in done.err
    assert "ai//x.png" in done.err
    assert "rename them, or `pip install boto3`" in done.err


@pytest.fixture
def elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who uses the server as gs:// and as az://, without credentials."""
    account = {"gcs_base_url": os.environ["AWS_ENDPOINT_URL"], "disable_oauth": True}
    account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "nobody")
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("gs://bucket/src", "google.cloud.storage", "google-cloud-storage"),
        ("az://bucket/src", "azure.storage.blob", "azure-storage-blob azure-identity"),
    ],
)
def test_elsewhere_the_makers_client_lists_them(
    bucket: dict[str, bytes], elsewhere: None, url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket)
    assert shard_tools_here("scan", url).code == 0
    bucket["src/adm/train/ai//x.png"] = b"x"
    with monkeypatch.context() as without:
        without.setitem(sys.modules, module, None)
        done = shard_tools_here("scan", url)
    assert done.code == 2
    assert 'ai//x.png"' in done.err
    assert f"rename them, or `pip install {package}`, which lists the others" in done.err
    pytest.importorskip(module, reason=f"{package} is not installed")
    done = shard_tools_here("scan", url, "--json")
    assert (done.code, done.json["files"], done.json["rejected"]) == (0, 10, 1)
