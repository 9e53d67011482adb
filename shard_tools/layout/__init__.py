"""What the names of folders, files and columns say about images: generator, split and label."""
