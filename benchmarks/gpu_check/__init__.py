"""Correctness and throughput on a machine with an NVIDIA GPU, in one command: python -m benchmarks.gpu_check."""
