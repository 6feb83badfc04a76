"""Scenarios: what a run may be asked for, and what is shipped. They know no car, no rider and no judge."""
