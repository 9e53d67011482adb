"""Crops of crop-ready shards decoded on the GPU: the kernels, what they are told, and whether they beat the CPUs."""
