"""Passwords, tokens and signatures of addresses are used and never shown: not in names, reprs, errors, logs, states."""

from __future__ import annotations

import logging
import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from genimage_stream.addresses import shown, split_credentials
from tests.fixtures.s3 import S3Server
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import Asked, Web, web_of

SECRETS = ("open sesame", "open%20sesame", "b3BlbiBzZXNhbWU", "tok123", "sig456")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


def secret_address(web: Web) -> str:
    return web.address.replace("://", "://ali:open%20sesame@") + "?token=tok123&X-Amz-Signature=sig456"


def guarded(asked: Asked) -> bool:
    if asked.headers.get("Authorization") != "Basic YWxpOm9wZW4gc2VzYW1l":
        asked.give(401, b"")
    elif asked.query != "token=tok123&X-Amz-Signature=sig456":
        asked.give(403, b"")
    else:
        return False
    return True


def test_they_are_used_and_not_shown(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with web_of(root, guarded) as web:
        dataset = gs.open_dataset(secret_address(web), storage_options={"retries": 0}, cache_dir=tmp_path)
        loader = gs.Loader(dataset, 8, crop=16)
        assert sum(len(batch) for batch in loader) == 72
        assert len(pickle.loads(pickle.dumps(dataset))) == 72  # a pickle holds what opening takes
        texts = [repr(dataset), str(dataset.path), repr(dataset.access), repr(loader), str(loader.state_dict())]
        web.trick = lambda asked: not asked.give(403, b"")
        for fail in (
            lambda: gs.open_dataset(secret_address(web)),
            lambda: list(gs.Loader(dataset.select(splits=["val"]), 8, crop=16)),
        ):
            with pytest.raises(OSError, match="403") as error:
                fail()
            texts.append("".join(traceback.format_exception(error.value)))
        web.trick = lambda asked: (
            not asked.give(302, b"", Location=secret_address(web).replace("127.0.0.1", "[fe80::1]"))
        )
        with pytest.raises(OSError, match="refused") as error:
            gs.open_dataset(secret_address(web))
        texts.append(str(error.value))
    for text in [*texts, caplog.text, *map(str, tmp_path.rglob("*"))]:
        assert not any(secret in text for secret in SECRETS), text


def test_obstore_errors_do_not_show_them_either(root: Path) -> None:
    secret = "https://ali:open%20sesame@127.0.0.1:9/x?token=tok123&X-Amz-Signature=sig456"
    with pytest.raises(OSError, match=r"dataset\.json") as error:  # nobody listens there
        gs.open_dataset(secret, storage_options={"retries": 0, "timeout": 1.0})
    text = "".join(traceback.format_exception(error.value))
    assert not any(secret in text for secret in SECRETS), text
    nowhere = secret.replace("https", "gopher")
    with pytest.raises(ValueError, match="gopher") as wrong:
        gs.open_dataset(nowhere)
    assert not any(secret in "".join(traceback.format_exception(wrong.value)) for secret in SECRETS)


def test_what_is_hidden_of_a_text() -> None:
    assert shown("https://a:b@c.d/e?f=g&h=i: no") == "https://c.d/e?f=***&h=***: no"
    assert shown("Authorization: Bearer abcdef.ghi") == "Authorization: Bearer ***"
    assert shown("Credential=AKIA/2026/x, Signature=abc123") == "Credential=***, Signature=***"
    assert shown("an image of 3 x 4 at a@b") == "an image of 3 x 4 at a@b"
    assert split_credentials("http://h/x?y") == ("http://h/x?y", None)
    assert split_credentials("http://us%40er:p:w@h:8/x") == ("http://h:8/x", "Basic dXNAZXI6cDp3")


def test_a_provider_of_credentials(s3: S3Server, root: Path) -> None:
    address = s3.upload(root, "provided")
    options: dict[str, Any] = {k: v for k, v in s3.options.items() if "access_key" not in k}
    asked = []

    def provider() -> dict[str, Any]:
        asked.append(1)
        return {"access_key_id": "gateway-user", "secret_access_key": "gateway-password", "expires_at": None}

    assert len(gs.open_dataset(address, storage_options={**options, "credential_provider": provider})) == 72
    assert asked


def test_a_profile(s3: S3Server, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed: scripts/setup.sh --tests")
    address = s3.upload(root, "profile")
    options: dict[str, Any] = {k: v for k, v in s3.options.items() if "access_key" not in k and k != "region"}
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = gateway-user\naws_secret_access_key = gateway-password\n"
    )
    (tmp_path / "config").write_text("[profile lab]\nregion = us-east-1\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert len(gs.open_dataset(address, storage_options={**options, "profile": "lab"})) == 72
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert len(gs.open_dataset(address, storage_options=options)) == 72
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ValueError, match="profile 'nobody' gives no credentials"):
        gs.open_dataset(address, storage_options=options)
