"""The loader: its options, its schedule, one epoch under way, batches."""
