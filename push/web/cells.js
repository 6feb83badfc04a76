// The H3 cells around you, on demand: fetched once per place, shaded by how many cars stand in each.

const SHADE_EVERY_MS = 500;

export class Cells {
  #map; #layer = null; #renderer; #polygons = new Map(); #asked = ""; #shadedAt = 0;

  constructor(map) {
    this.#map = map;
    map.createPane("cells").style.zIndex = 350;
    this.#renderer = L.canvas({ pane: "cells", padding: 0.4 });
  }

  get count() {
    return this.#polygons.size;
  }

  hide() {
    this.#layer?.remove();
    this.#layer = null;
    this.#polygons.clear();
    this.#asked = "";
  }

  /** Show the cells around a rider. The place is rounded to ~100 m: that is all the server needs to know. */
  async show({ lat, lon, radius_m }) {
    const query = new URLSearchParams({ lat: lat.toFixed(3), lon: lon.toFixed(3), radius_m: String(radius_m) });
    if (String(query) === this.#asked) return;
    this.#asked = String(query);
    const response = await fetch(`/v1/cells?${query}`);
    if (!response.ok || this.#asked !== String(query)) return;
    const cells = await response.json();
    this.#layer?.remove();
    this.#polygons.clear();
    this.#layer = L.geoJSON(cells, {
      renderer: this.#renderer, pane: "cells", interactive: false, style: () => shade(0),
      onEachFeature: (feature, polygon) => this.#polygons.set(feature.id, { polygon, cars: 0 }),
    }).addTo(this.#map);
    this.#shadedAt = 0;
  }

  /** Count the cars per cell, at most twice a second; only cells whose count changed are painted anew. */
  shade(cars, now) {
    if (!this.#layer || now - this.#shadedAt < SHADE_EVERY_MS) return;
    this.#shadedAt = now;
    const counts = new Map();
    for (const car of cars) if (car.leftAt === null) counts.set(car.cell, (counts.get(car.cell) ?? 0) + 1);
    for (const [cell, entry] of this.#polygons) {
      const count = counts.get(cell) ?? 0;
      if (count === entry.cars) continue;
      entry.cars = count;
      entry.polygon.setStyle(shade(count));
    }
  }
}

function shade(count) {
  return {
    color: "#6fb7e8", weight: 0.8, opacity: 0.28,
    fillColor: "#4aa8e8", fillOpacity: count ? Math.min(0.62, 0.12 + 0.11 * count) : 0.0,
  };
}
