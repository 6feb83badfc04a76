"""Start engines and services as processes on this machine, by name, and leave none behind."""
