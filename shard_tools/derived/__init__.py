"""What is made of a finished dataset: some generators fewer, a smaller dataset, the files themselves."""
