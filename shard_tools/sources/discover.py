"""Which containers a SRC consists of."""

from __future__ import annotations

import os

from shard_tools.errors import ToolError
from shard_tools.layout import looked_for
from shard_tools.sources.base import Container
from shard_tools.sources.folder import FolderContainer


def discover(source: str, prefix: str = "") -> list[Container]:
    """The containers of a source, the folder tree itself first. `prefix` names it when there are several sources."""
    if not os.path.lexists(source):
        raise ToolError(f"{source}: there is no such folder; give the folder that holds {looked_for()}")
    if not os.path.isdir(source):
        raise ToolError(f"{source} is not a folder; give the folder that holds it")
    try:
        os.listdir(source)
    except OSError as error:
        raise ToolError(f"{source} cannot be listed: {error.strerror}") from error
    return [FolderContainer(os.path.abspath(source), name=prefix)]
