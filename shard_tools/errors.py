"""Errors that end a command with one sentence and exit code 2."""

from __future__ import annotations


class ToolError(Exception):
    """Wrong usage, or input or output that cannot be used at all. The message names the path and the remedy."""


class SourceError(ToolError):
    """The source as a whole (a folder, an archive, a disk) is not what it was, or is not there."""


class TargetError(ToolError):
    """The place written to fails: full, read-only, gone, or somebody else's."""


class UnreadableImageError(Exception):
    """One file cannot be packed; the message is the reason that goes into the quarantine list."""


class UnreadableFileError(UnreadableImageError):
    """The disk or its permissions refuse one file. Many of these in a row mean that the source is going away."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.path = path
