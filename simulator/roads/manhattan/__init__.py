"""The shipped road network of Manhattan. © OpenStreetMap contributors, ODbL 1.0; see NOTICE.md."""
