"""Both ends and the judge: seeded fleets, recorded traces and riders, over the public wires only."""
