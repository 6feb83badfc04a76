"""Phones: what becomes of a reading until it is posted, and what the rules make of it. They know no car, no wire."""
