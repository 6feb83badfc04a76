"""Roads: a network of links, the ways along it, and the shipped one of Manhattan. No car, no clock, no chance."""
