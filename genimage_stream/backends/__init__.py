"""What turns requested bytes into batches of images: CPU, CUDA, DALI."""
