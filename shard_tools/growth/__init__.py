"""What is done to a finished dataset: it grows, loses generators, is written out in part or as files."""
