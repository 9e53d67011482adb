"""Errors of the system as sentences that name the thing and what to do about it, for the commands of both packages."""

from __future__ import annotations


def is_utf8(path: str) -> bool:
    """Whether a name or path, as Python has it from the system, stands for bytes that are UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str) -> str:
    """A path for people and tables: bytes that are not UTF-8 are written out."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()


def no_dataset(destination: str, *, begun: bool, file: str) -> str:
    """A folder without `file`, the last thing that pack writes; `begun`: packing was begun there."""
    if begun:
        return f"{destination} is not finished: run the same `shard-tools pack` again to go on"
    return f"{destination} holds no dataset ({file} is not there): give the folder that `shard-tools pack` wrote"


def sentence(error: BaseException) -> str:
    """What to tell of an error: its own words, with the remedy where the system's own have none."""
    said = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        if isinstance(error, FileNotFoundError):
            return f"{error.filename} is not there: `shard-tools verify` lists what is missing of a dataset"
        if isinstance(error, PermissionError):
            return f"{error.filename} may not be read: give yourself the right to (chmod, or its owner's account)"
        return f"{error.filename}: {error.strerror}; `shard-tools verify` tells whether the dataset is intact"
    if isinstance(error, ImportError) and "torch" in f"{error.name} {said}":
        return f"PyTorch cannot be imported ({said}): install it, as pip install torch"
    if "169.254.169.254" in said:  # where machines of the cloud ask for theirs, tried last
        return (
            f"{said.split(': ')[0]}: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_SKIP_SIGNATURE=true for what anybody may read"
        )
    if "error sending request" in said or "Connection refused" in said:
        return f"{said}: nobody answers there; look at the address, its port, and whether the server runs"
    return said
