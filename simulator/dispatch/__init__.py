"""Dispatch: who takes which request, and what the trip API is told of it and answers. Knows no rider's screen."""
