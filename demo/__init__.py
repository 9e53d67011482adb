"""The main job on your own machine: photographs become a GenImage-shaped tree, shards, and a trained detector."""
