"""Photographs in the shape of GenImage, which the demo and the benchmarks work on."""
