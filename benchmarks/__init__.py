"""Measurements against peers. Each program writes its figures, and the machine that they are of, to results/."""
