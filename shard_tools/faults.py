"""Is it one bad file, or is the source going away?

A file that was listed and that the disk or its permissions refuse now is one bad file most of the time. A disk that
dies, or a folder that is locked while it is packed, looks the same for every file: a dataset that is finished without
them would be the result. So a run of such files, or a whole shard of them, stops the packer.
"""

from __future__ import annotations

from shard_tools.errors import SourceError, UnreadableFileError

RUN = 16


class Faults:
    """Counts the refused files among `files` that are read in order."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._count = self._run = 0
        self._last = -2

    def add(self, number: int, error: Exception) -> None:
        """File `number` could not be read. Raises SourceError when that is one too many."""
        if not isinstance(error, UnreadableFileError):
            return
        self._count += 1
        self._run = self._run + 1 if number == self._last + 1 else 1
        self._last = number
        if self._run >= RUN or self._count == self._files > 1:
            raise SourceError(
                f"{error.path}: {error}, as {self._run - 1} files before it: the source seems to be going away. Bring "
                "it back, or make these files readable or take them out of it, and run the same command again to go on"
            ) from error
