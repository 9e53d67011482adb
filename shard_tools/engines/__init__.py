"""Engines carry a plan out: every shard task once, in any order, on any number of workers."""
