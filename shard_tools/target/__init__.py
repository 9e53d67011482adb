"""Where a dataset is written: a folder or an object store, by one packer at a time."""
