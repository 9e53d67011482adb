"""Turn GenImage folders and archives into WebDataset shards."""
