"""Derive the shipped requests: `python -m simulator.demand.nyc.derive nyc_20k_requests_2014-12-21.csv.gz`.

The input has the columns departure_time, o_lat, o_lon, d_lat, d_lon (CSV, may be gzipped). The same input gives
the same bytes, so that anyone can check what is shipped.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

from simulator.demand.recorded import REQUESTS_FILE, write_requests
from simulator.roads.nearest_node import NearestNode
from simulator.roads.network import load_manhattan, open_table

#: An end farther than this from an intersection of the shipped network is elsewhere: a block is at most 280 m long.
MOST_OFF_ROAD_M = 150.0
#: So much of the day is enough for a demo, and half as large.
EVERY = 2


def derive(requests: Path, out: Path) -> None:
    """Write the compact table into the folder `out`."""
    nodes = NearestNode(load_manhattan().positions)
    with open_table(requests) as lines:
        rows = sorted(
            (
                row["departure_time"][11:16],
                (float(row["o_lat"]), float(row["o_lon"])),
                (float(row["d_lat"]), float(row["d_lon"])),
            )
            for row in csv.DictReader(lines)
        )
    inside = [
        (minute, *origin, *destination)
        for minute, origin, destination in rows
        if max(nodes.find(*origin)[1], nodes.find(*destination)[1]) <= MOST_OFF_ROAD_M
    ]
    # mtime=0 and no file name in the gzip header: the bytes depend on the content only.
    text = write_requests(inside[::EVERY])
    (out / REQUESTS_FILE).write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m simulator.demand.nyc.derive REQUESTS.csv[.gz]")
    derive(Path(sys.argv[1]), Path(__file__).parent)
