"""Riders: who watch the map or a trip, what befalls them, and what their screens show. They know no truth."""
