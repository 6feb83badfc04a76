// What a car does in the city: nothing, on its way to a rider, or driving one. And the ways of trips, on a canvas.

import { DISC, RING } from "./glyphs.js";
import { Overlay } from "./overlay.js";
import { Way } from "./share-way.js";

/** Colour and line both tell the kind: a ring and dots for who comes, a disc and a line for who drives somebody. */
export const JOBS = {
  pickup: { name: "On its way to a rider", color: RING },
  trip: { name: "With a rider on board", color: DISC },
};
const BEFORE_BOARDING = new Set(["NEW", "ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP"]);
/** Ways change as their cars drive along them; at the scale of a city nobody sees more often than this. */
const PAINT_EVERY_MS = 200;

/** "pickup" or "trip". */
export const jobOf = ({ state }) => (BEFORE_BOARDING.has(state) ? "pickup" : "trip");

/** Leaflet layer. `scene` gives fleet, trips (a map by driver id) and followed (a trip id, or null). */
export const WaysLayer = Overlay.extend({
  pane: "ways",
  level: 445,

  initialize(scene) {
    this._scene = scene;
    this._ways = new Map();
    this._paintedAt = 0;
    this.drawn = 0;
  },

  tick(now) {
    if (now - this._paintedAt < PAINT_EVERY_MS) return;
    this._paintedAt = now;
    this.frame(now);
  },

  _wayOf(trip, job) {
    const encoded = (job === "pickup" ? trip.approach : trip.route) ?? "";
    let known = this._ways.get(trip.trip_id);
    if (known?.encoded !== encoded) this._ways.set(trip.trip_id, (known = { encoded, way: new Way(encoded) }));
    return known.way;
  },

  paint(context, { scale, min, zoom }, now) {
    const { fleet, trips, followed } = this._scene;
    const under = new Set();
    const paths = { pickup: new Path2D(), trip: new Path2D(), followed: new Path2D() };
    const ends = [];
    this.drawn = 0;
    for (const trip of trips.values()) {
      under.add(trip.trip_id);
      const job = jobOf(trip);
      const way = this._wayOf(trip, job);
      const car = fleet.cars.get(trip.driver_id);
      const points = (car && way.ahead(...fleet.drawnAt(car, now))) ?? way.points;
      if (points.length < 2) continue;
      this.drawn++;
      for (const path of trip.trip_id === followed ? [paths[job], paths.followed] : [paths[job]]) {
        points.forEach(([x, y], i) => path[i ? "lineTo" : "moveTo"](x * scale - min.x, y * scale - min.y));
      }
      const [x, y] = points.at(-1);
      ends.push({ x: x * scale - min.x, y: y * scale - min.y, job });
    }
    for (const id of this._ways.keys()) if (!under.has(id)) this._ways.delete(id);
    const width = Math.max(1.4, Math.min(4, 1.6 + (zoom - 12) * 0.5));
    context.lineJoin = context.lineCap = "round";
    context.strokeStyle = "rgb(255 255 255 / 0.85)";
    context.lineWidth = width + 3;
    context.stroke(paths.followed);
    for (const job of ["trip", "pickup"]) {
      context.setLineDash(job === "pickup" ? [0.1, 2.2 * width] : []);
      context.globalAlpha = job === "pickup" ? 0.95 : 0.75;
      context.lineWidth = job === "pickup" ? width * 1.25 : width;
      context.strokeStyle = JOBS[job].color;
      context.stroke(paths[job]);
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
    for (const { x, y, job } of ends) drawEnd(context, x, y, job, 2 + width);
  },
});

/** Where it leads: a ring where a rider waits, a square where one gets off. */
export function drawEnd(context, x, y, job, size) {
  context.beginPath();
  if (job === "pickup") context.arc(x, y, size * 0.9, 0, 7);
  else context.rect(x - size * 0.75, y - size * 0.75, 1.5 * size, 1.5 * size);
  context.fillStyle = "#0b1824";
  context.fill();
  context.lineWidth = 1.8;
  context.strokeStyle = JOBS[job].color;
  context.stroke();
}
