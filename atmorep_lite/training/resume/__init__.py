"""Checkpoints of a run, what they hold, and the folder they lie in."""
