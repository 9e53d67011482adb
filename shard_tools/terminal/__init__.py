"""Speaking to people at a terminal: progress, lines, tables."""
