"""What comes when: pure functions of (rows, seed, epoch, options)."""
