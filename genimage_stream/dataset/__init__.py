"""What there is: a packed dataset, selections of it, its index as columns."""
