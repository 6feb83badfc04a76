"""The read edge: it answers each rider's standing query over one WebSocket connection."""
