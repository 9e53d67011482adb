"""The commands that pack, and packing by many machines."""
