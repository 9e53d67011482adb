"""What a store's answers mean: gone, refused for good, or for now."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

from genimage_stream.storage.patience import PassingError

_EXPIRED = re.compile(r"ExpiredToken|RequestExpired|TokenRefreshRequired|(?i:has expired|expired token)")
_XML = re.compile(r"<Code>([^<]{1,80})</Code>(?:\s*<Message>([^<]{1,200})</Message>)?")
_NAMES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

WHOLE_FILES = (
    "The loader reads parts of files and this server sends only whole ones: use one that answers range requests "
    "(nginx, Caddy, an object store), or copy the dataset to a local folder"
)


class StoreError(OSError):
    """A file of a store could not be read: it names the file and the reason."""


class PastEndError(StoreError):
    """The range begins behind the file's end."""


def failure(status: int, text: str, retry_after: str | None = None) -> Exception:
    """The error for an answer that is none of the file's bytes: `text` is what the server says of it."""
    said = _XML.search(text)
    name = _NAMES.get(status, "")
    reason = f"the server answers {status}{f' {name}' if name else ''}"
    if said is not None:
        reason += f" ({said[1]}{f': {said[2]}' if said[2] else ''})"
    if status in (404, 410):
        return FileNotFoundError(reason)
    if status in (429, 503):
        return PassingError(reason, throttled=True, wait=_seconds(retry_after))
    if status in (408, 425) or status >= 500:
        return PassingError(reason)
    if _EXPIRED.search(text):
        return StoreError(
            f"{reason}: the credentials or the signed address have expired; renew them (such as by `aws sso login`), "
            "open the dataset again and go on from the last saved state"
        )
    if status in (401, 403):
        return StoreError(
            f"{reason}: check the credentials (docs/loading.md, Object stores) and that they may read this file"
        )
    return StoreError(reason)


def _seconds(value: str | None) -> float:
    """Seconds of a Retry-After header; 0 when it says none (RFC 9110, section 10.2.3)."""
    if value is None:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
