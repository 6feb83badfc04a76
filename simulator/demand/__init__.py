"""Demand: who wants to go from where to where, made up or recorded. Knows no car and no dispatch."""
