"""Staging: a scenario played, watched and judged against a running system. Knows no command line."""
