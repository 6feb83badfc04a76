"""Counts: what is counted of a run: verdicts, latencies, findings. They know nothing of who counts."""
