"""Break the system in named ways, and see that the simulator's oracle names each: docs/mutations.md."""
