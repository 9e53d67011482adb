"""Crops of crop-ready shards decoded on the GPU: the kernels, their inputs, and a comparison with the CPUs."""
