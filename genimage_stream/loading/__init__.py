"""Carrying a plan out: the loader, its options, one epoch under way, batches."""
