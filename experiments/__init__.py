"""What is tried and not part of the packages."""
