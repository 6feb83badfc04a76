"""The fleet: drivers in cars on roads, their jobs, and what their phones read. Knows no fault and no system."""
