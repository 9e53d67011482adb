"""Backends: requested bytes to batches of images, by the CPU, for a GPU, or with DALI."""
