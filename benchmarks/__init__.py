"""Measurements against peers. Each program writes its figures and the machine they stand on to results/."""
