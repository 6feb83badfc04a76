// Supply as a heat layer: H3 cells, shaded by how many free cars stand in each. Polygons come from push, once a place.

import { distanceM, worldOf } from "./fleet.js";
import { Overlay } from "./overlay.js";

/** Faint to bright; a cell with this many steps of the fullest cell's cars, by the square root. */
export const RAMP = ["rgb(72 120 220 / 0.20)", "rgb(72 140 235 / 0.32)", "rgb(70 165 245 / 0.44)", "rgb(84 190 252 / 0.56)", "rgb(120 214 255 / 0.68)"];
/** The scale does not stretch below this: one car is not a crowd. */
const CROWD = 5;
/** From near the cars tell it themselves, and the colour only helps. */
const PALER_PER_ZOOM = 0.2;
const PALEST = 0.4;
const ASK_AGAIN_MS = 5_000;

/** Leaflet layer. `places()` gives the circles that are watched; `shade(cars)` counts and paints. */
export const HeatLayer = Overlay.extend({
  pane: "heat",
  level: 350,

  initialize(places) {
    this._places = places;
    this._polygons = new Map();
    this._counts = new Map();
    this._askedAt = -Infinity;
    this.cells = 0;
  },

  shade(cars, now) {
    const counts = new Map();
    let unknown = null;
    for (const car of cars) {
      counts.set(car.cell, (counts.get(car.cell) ?? 0) + 1);
      if (!this._polygons.has(car.cell)) unknown = car;
    }
    this._counts = counts;
    this.cells = counts.size;
    if (unknown && now - this._askedAt > ASK_AGAIN_MS) this._ask(unknown, now);
    this.frame(now);
  },

  /** The cells around the circle that a car is in, of which the shape of its cell is not known. */
  async _ask(car, now) {
    const place = this._places().find(({ lat, lon, radius_m }) => distanceM(lat, lon, car.lat, car.lon) <= radius_m);
    if (!place) return;
    this._askedAt = now;
    const { lat, lon, radius_m } = place;
    const query = new URLSearchParams({ lat: lat.toFixed(3), lon: lon.toFixed(3), radius_m: String(Math.floor(radius_m)) });
    const response = await fetch(`/v1/cells?${query}`).catch(() => null);
    if (!response?.ok) return;
    for (const { id, geometry } of (await response.json()).features) {
      this._polygons.set(id, geometry.coordinates[0].map(([x, y]) => worldOf(y, x)));
    }
    // One circle after the other, each at once; a place that has no answer is asked for later.
    if (this._polygons.has(car.cell)) this._askedAt = -Infinity;
  },

  paint(context, { scale, min, size, zoom }) {
    const most = Math.max(CROWD, ...this._counts.values());
    const paths = RAMP.map(() => new Path2D());
    for (const [cell, count] of this._counts) {
      const polygon = this._polygons.get(cell);
      if (!polygon) continue;
      const x = polygon[0][0] * scale - min.x;
      const y = polygon[0][1] * scale - min.y;
      if (x < -400 || y < -400 || x > size.x + 400 || y > size.y + 400) continue;
      const path = paths[Math.min(RAMP.length - 1, Math.floor(Math.sqrt(count / most) * RAMP.length))];
      path.moveTo(x, y);
      for (let i = 1; i < polygon.length; i++) path.lineTo(polygon[i][0] * scale - min.x, polygon[i][1] * scale - min.y);
    }
    context.globalAlpha = Math.max(PALEST, Math.min(1, 1 - (zoom - 12.5) * PALER_PER_ZOOM));
    paths.forEach((path, step) => {
      context.fillStyle = RAMP[step];
      context.fill(path);
    });
    context.globalAlpha = 1;
  },
});
