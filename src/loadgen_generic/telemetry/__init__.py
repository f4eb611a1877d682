"""What the supervisor sees of a test while it runs, from outside the measured process."""
