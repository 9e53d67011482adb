"""The bytes of a range: local files, object stores, the shard cache, memory."""
