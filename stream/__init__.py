"""The job: it folds one driver's pings into one position and keeps the index of drivers in Redis."""
