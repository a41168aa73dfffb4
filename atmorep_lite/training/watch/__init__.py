"""Seeing a run: progress, trackers, scores on held-out data, pictures of attention."""
