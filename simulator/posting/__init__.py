"""Posting: what ingest is told and asked about fixes, and what it answers. Knows no car, no rider and no trip."""
