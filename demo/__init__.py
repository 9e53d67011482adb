"""The main job on a machine of one's own: photographs become a GenImage-shaped tree, shards, and a trained detector."""
