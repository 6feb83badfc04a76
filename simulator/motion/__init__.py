"""Motion: how the vehicles of traces move, side by side. Speaks with no system."""
