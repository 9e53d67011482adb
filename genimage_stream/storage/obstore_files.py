"""Files of object stores, and of web servers with TLS, through obstore, which works outside of the interpreter."""

from __future__ import annotations

import importlib
import os
import re
from datetime import timedelta
from typing import Any

from genimage_stream.addresses import shown, split_credentials
from genimage_stream.remedies import no_credentials
from genimage_stream.storage.errors import WHOLE_FILES, PastEndError, StoreError, failure
from genimage_stream.storage.http_files import Facts
from genimage_stream.storage.patience import PassingError

_STATUS = re.compile(r"status code: (\d{3})\b")
_KEYS = ("access_key_id", "aws_access_key_id", "skip_signature", "aws_skip_signature")


class ObstoreFiles:
    """The files below an address. `options`: obstore's configuration keys, `client_options`, `credential_provider` and,
    for s3://, `profile`. Raises ValueError for what obstore does not take."""

    def __init__(self, address: str, options: dict[str, Any], timeout: float) -> None:
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise ImportError(
                f"{shown(address)}: object stores need obstore: pip install 'genimage-stream[s3]'"
            ) from error
        plain, authorization = split_credentials(address) if "://" in address else (address, None)
        self._timeout = timeout
        self._without_head = False
        # A request may take as long as it gets bytes: only waiting for them is limited.
        client: dict[str, Any] = {"connect_timeout": "5s", "read_timeout": f"{timeout}s", "timeout": "7days"}
        client |= options.pop("client_options", {})
        if authorization is not None:
            client["default_headers"] = {**client.get("default_headers", {}), "authorization": authorization}
        endpoint = options.get("endpoint") or options.get("aws_endpoint") or os.environ.get("AWS_ENDPOINT_URL", "")
        if plain.startswith("http://") or str(endpoint).startswith("http://"):
            client.setdefault("allow_http", True)
        provider = options.pop("credential_provider", None)
        if plain.startswith(("s3://", "s3a://")):
            provider = _of_profile(options, provider)
        more = {} if provider is None else {"credential_provider": provider}
        retry = {"max_retries": 0, "retry_timeout": timedelta(days=7)}  # ours knows of Retry-After, stalls and others
        try:
            self._store: Any = from_url(plain, client_options=client, retry_config=retry, config=options, **more)  # type: ignore[call-overload]
        except Exception as error:
            reason = _first_line(error)
            raise ValueError(f"{shown(address)}: {no_credentials(reason) or shown(reason)}") from None

    async def head(self, path: str) -> Facts:
        """Size and version of a file. Raises FileNotFoundError, StoreError or PassingError, as `get` does."""
        if not self._without_head:
            try:
                return _facts(await self._store.head_async(path))
            except Exception as error:
                if _status(error) not in (405, 501):
                    raise self._meaning(error) from None
                self._without_head = True
        return (await self.get(path, 0, 1))[1]

    async def get(self, path: str, start: int, end: int) -> tuple[Any, Facts]:
        """The bytes start .. end of a file, fewer where it ends, and its facts."""
        try:
            found = await self._store.get_async(path, options={"range": (start, end)})
            return await found.bytes_async(), _facts(found.meta)
        except Exception as error:
            raise self._meaning(error) from None  # its text holds the whole request

    def _meaning(self, error: Exception) -> Exception:
        from obstore import exceptions

        text = str(error)
        status = _status(error)
        if (lacking := no_credentials(_first_line(error))) is not None:  # what answered, if anything, is not the store
            refused = status is not None and status // 100 == 4 and status != 429
            return StoreError(lacking) if refused else PassingError(lacking)
        if status is not None:
            return PastEndError() if status == 416 else failure(status, text.partition("\n\nDebug source")[0])
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError("it is not there")
        if "Invalid range:" in text:
            return PastEndError()
        reason = shown(_first_line(error))
        if isinstance(error, exceptions.NotSupportedError) and "range" in reason.lower():
            return StoreError(WHOLE_FILES)
        if "timed out" in text or "TimedOut" in text:
            return PassingError(f"no byte for {self._timeout:g} s (`timeout` in storage_options)", slow=True)
        if isinstance(error, exceptions.BaseError) and not isinstance(
            error,
            exceptions.PermissionDeniedError
            | exceptions.UnauthenticatedError
            | exceptions.NotSupportedError
            | exceptions.InvalidPathError,
        ):
            return PassingError(reason)
        return StoreError(reason)


def _facts(meta: Any) -> Facts:
    return Facts(meta["size"], f"{meta.get('e_tag') or meta.get('last_modified')}-{meta['size']}")


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found is not None else None


def _of_profile(options: dict[str, Any], provider: Any) -> Any:
    """`provider`, or that of a profile of AWS's own configuration files, SSO included, where one is asked for."""
    asked = options.pop("profile", None)
    name = asked or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    given = any(key in options for key in _KEYS) or "AWS_ACCESS_KEY_ID" in os.environ
    if provider is not None or not name or (given and asked is None):
        return provider
    try:
        session = importlib.import_module("boto3").Session(profile_name=name)
        found = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider(session)
    except ImportError:
        raise ImportError(
            f"the AWS profile {name!r} is read by boto3, which is not installed: pip install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except Exception as error:  # botocore's errors have no common ancestor with ours
        raise ValueError(f"the AWS profile {name!r} gives no credentials: {shown(str(error))}") from None
    if session.region_name and not {"region", "aws_region"} & options.keys():
        options["region"] = session.region_name
    return found


def _first_line(error: BaseException) -> str:
    """obstore puts the whole request below the first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
