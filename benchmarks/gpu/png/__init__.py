"""PNG crops decoded on the GPU: the kernel, what it is told, and whether it beats the CPUs."""
