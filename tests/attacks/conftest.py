"""Datasets that attacks are made on: those of the packer's tests."""

from tests.shard_tools.conftest import packed, standard_tree

__all__ = ["packed", "standard_tree"]
