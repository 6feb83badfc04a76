"""Runs: a fleet or a trace is posted while riders watch, and what became of it. They know no scenario, no oracle."""
