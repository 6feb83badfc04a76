"""Derive the shipped road network from OpenStreetMap tables: `python -m simulator.roads.manhattan.derive NODES EDGES`.

NODES has columns id, lat, lng; EDGES has from, to, speed_kph (CSV, may be gzipped). The same input gives the same
bytes, so that anyone can check what is shipped.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path

from simulator.roads.network import LINKS_FILE, NODES_FILE, open_table

#: 50 mph, the highest speed limit in Manhattan (Harlem River Drive, Henry Hudson Parkway).
MAX_SPEED_KPH = 80.0


def derive(nodes: Path, edges: Path, out: Path) -> None:
    """Write the compact tables into the folder `out`."""
    with open_table(nodes) as rows:
        node_rows = [
            (row["id"], f"{float(row['lat']):.6f}", f"{float(row['lng']):.6f}") for row in csv.DictReader(rows)
        ]
    number = {node_id: index for index, (node_id, _, _) in enumerate(node_rows)}
    fastest: dict[tuple[int, int], float] = {}
    with open_table(edges) as rows:
        for row in csv.DictReader(rows):
            link = number[row["from"]], number[row["to"]]
            speed_kph = min(float(row["speed_kph"]), MAX_SPEED_KPH)
            if link[0] != link[1]:
                fastest[link] = max(speed_kph, fastest.get(link, 0.0))
    _write(out / NODES_FILE, ("id", "lat", "lon"), [(number[i], lat, lon) for i, lat, lon in node_rows])
    _write(out / LINKS_FILE, ("from", "to", "speed_kph"), [(a, b, f"{v:g}") for (a, b), v in sorted(fastest.items())])


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    # mtime=0 and no file name in the gzip header: the bytes depend on the content only.
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m simulator.roads.manhattan.derive NODES.csv[.gz] EDGES.csv[.gz]")
    derive(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parent)
