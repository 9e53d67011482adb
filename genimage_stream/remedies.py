"""System errors as sentences that name the file or address and what to do, for the commands of both packages."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

_TORCH = (
    "install PyTorch with `pip install 'genimage-stream[torch]'`, or, without a GPU, its smaller build with "
    "`pip install torch --index-url https://download.pytorch.org/whl/cpu`"
)


class NoTorchError(ImportError):
    """PyTorch, an optional dependency, is not installed; the message says what needs it and how to install it."""


@contextmanager
def needing_torch(what: str) -> Iterator[None]:
    """Around an import of PyTorch: its absence becomes a NoTorchError."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise NoTorchError(f"{what} needs PyTorch ({error}): {_TORCH}", name="torch") from error


def is_utf8(path: str) -> bool:
    """Whether the bytes of a name or path, as Python decoded it from the system, are UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


# What may not reach a terminal as it is: control characters (they move the cursor, set titles, break and forge lines),
# what turns the direction of text, and bytes that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """A path, or a line with names in it, for terminals and pages: what would not be shown as it is, is escaped.

    Names come from disks, archives and indexes of strangers, so every line that is printed passes here.
    """
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def read_error(number: int, text: str, dataset: str) -> OSError:
    """The error for a file of a dataset that cannot be read: the system's number is kept, 0 where it gave none, and the
    remedy is the one that fits."""
    error = type(OSError(number, ""))(f"{text}; {_remedy(number, dataset)}")
    error.errno = number or None
    return error


def _remedy(number: int, dataset: str) -> str:
    match number:
        case errno.ESTALE:
            return (
                "the file server gave the file up, and opening it again did not help: remount its file system, then go "
                "on from the last saved state"
            )
        case errno.EIO:
            return (
                "the disk or the file server could not give these bytes, twice: look for its errors with dmesg, and "
                "copy the dataset to a sound disk"
            )
        case errno.EACCES | errno.EPERM:
            return "change its permissions with chmod, or run as its owner"
        case errno.EMFILE | errno.ENFILE:
            return "raise the limit on open files with `ulimit -n`"
        case errno.ETIMEDOUT | errno.EHOSTDOWN | errno.EHOSTUNREACH | errno.ENOTCONN:
            return "its file server does not answer: go on from the last saved state when it does"
    return f"`shard-tools verify {dataset}` tells what is damaged"


def no_dataset(destination: str, *, begun: bool, file: str) -> str:
    """A message about a folder without `file`, which pack writes last; `begun`: packing was started there."""
    if begun:
        return f"{destination} is not finished: run the same `shard-tools pack` again to go on"
    return f"{destination} holds no dataset ({file} is not there): give the folder that `shard-tools pack` wrote"


#: How obstore calls a store, and where it looks for credentials.
_CREDENTIALS = {
    "S3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket",
    "GCS": "set GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "MicrosoftAzure": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def no_credentials(said: str) -> str | None:
    """The sentence for what obstore says where there are no credentials, or only a part; None for anything else."""
    store = next((name for name in _CREDENTIALS if f"Generic {name} error" in said), "S3")
    if "169.254.169.254" in said:  # where cloud machines look for credentials, tried last
        return f"no credentials found: {_CREDENTIALS[store]}"
    if "Missing AccessKeyId" in said or "Missing SecretAccessKey" in said or "Account must be specified" in said:
        return f"a part of the credentials is missing: {_CREDENTIALS[store]}"
    return None


def sentence(error: BaseException) -> str:
    """The message for an error: its own text, with a remedy where the system gives none."""
    said = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        if isinstance(error, FileNotFoundError):
            return f"{error.filename} does not exist: `shard-tools verify` lists what is missing from a dataset"
        if isinstance(error, PermissionError):
            return f"{error.filename}: permission denied; change its permissions with chmod, or run as its owner"
        return f"{error.filename}: {error.strerror}; `shard-tools verify` checks whether the dataset is intact"
    if isinstance(error, ImportError) and "torch" in f"{error.name} {said}":
        return said if _TORCH in said else f"{said}: {_TORCH}"
    if (lacking := no_credentials(said)) is not None:
        return f"{said.split(': ')[0]}: {lacking}"
    if "error sending request" in said or "Connection refused" in said:
        return f"{said}: no server responded; check the address, its port, and whether the server is running"
    return said
