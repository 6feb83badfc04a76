"""Traces: fixes read from files and written to them, and when each is due in a replay. They know no wire."""
