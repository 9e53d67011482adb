"""The parts of benchmarks/gpu_check.py: contestants in processes of their own, rounds, training, the report."""
