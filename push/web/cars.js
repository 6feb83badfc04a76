// The canvas with everything that moves: trails, cars, your circle. One clear and one pass a frame.

import { worldOf, worldPerMetre } from "./fleet.js";
import { HALF, sprite, typeOf } from "./glyphs.js";
import { Overlay } from "./overlay.js";

/** Trails are left out above this many cars: they cost more than the cars themselves. */
const TRAILS_UP_TO = 600;
const HIT_PX = 15;

/** Leaflet layer. `scene` gives fleet, rider ({lat, lon, radius_m}), selected, isStale(car). */
export const CarsLayer = Overlay.extend({
  pane: "cars",
  level: 450,

  initialize(scene) {
    this._scene = scene;
    this.drawn = [];
  },

  /** The car drawn nearest to a container point, or null. */
  at(point) {
    let best = null;
    let bestPx = HIT_PX;
    for (const item of this.drawn) {
      const px = Math.hypot(item.x - point.x, item.y - point.y);
      if (px < bestPx) [best, bestPx] = [item.car, px];
    }
    return best;
  },

  paint(context, { scale, min, size, ratio, zoom }, now) {
    const { fleet, rider, selected, isStale } = this._scene;
    if (rider) this._drawCircle(rider, scale, min, size);

    const glyphScale = Math.max(0.66, Math.min(1.5, 0.98 + (zoom - 14) * 0.16));
    const step = Math.round(glyphScale * ratio * 8) / 8;
    const trails = fleet.cars.size <= TRAILS_UP_TO && !fleet.still;
    const drawn = [];
    for (const car of fleet.cars.values()) {
      const [wx, wy] = fleet.drawnAt(car, now);
      const x = wx * scale - min.x;
      const y = wy * scale - min.y;
      if (x < -HALF || y < -HALF || x > size.x + HALF || y > size.y + HALF) continue;
      drawn.push({ car, x, y, stale: isStale(car) });
    }
    // Live cars lie on top of stale ones, always in the same order.
    drawn.sort((a, b) => b.stale - a.stale || (a.car.driver_id < b.car.driver_id ? -1 : 1));
    this.drawn = drawn;
    if (trails) for (const item of drawn) if (!item.stale) this._drawTrail(item, scale, min, now);
    for (const item of drawn) {
      const { car, x, y, stale } = item;
      const heading = fleet.headingAt(car, now);
      const image = sprite(car.type, stale ? "hollow" : "live", heading !== null, step);
      const half = HALF * (step / ratio);
      const beyond = rider && !fleet.holds("near", car.driver_id) && car.leftAt === null;
      context.globalAlpha = fleet.opacityAt(car, now) * (beyond ? 0.5 : 1);
      context.translate(x, y);
      if (heading !== null) context.rotate((heading * Math.PI) / 180);
      context.drawImage(image, -half, -half, 2 * half, 2 * half);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (car === selected) this._drawSelected(car, x, y, scale, min, now);
    }
    context.globalAlpha = 1;
  },

  _drawCircle(rider, scale, min, size) {
    const context = this._context;
    const [wx, wy] = worldOf(rider.lat, rider.lon);
    const x = wx * scale - min.x;
    const y = wy * scale - min.y;
    const radius = rider.radius_m * worldPerMetre(rider.lat) * scale;
    context.beginPath();
    context.rect(0, 0, size.x, size.y);
    context.arc(x, y, radius, 0, 2 * Math.PI, true);
    context.fillStyle = "rgb(6 13 20 / 0.4)";
    context.fill();
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = 1.25;
    context.strokeStyle = "rgb(214 232 248 / 0.5)";
    context.stroke();
  },

  _drawTrail({ car, x, y }, scale, min, now) {
    const { trail } = car;
    if (!trail.length) return;
    const context = this._context;
    const opacity = this._scene.fleet.opacityAt(car, now);
    context.strokeStyle = typeOf(car.type).color;
    context.lineCap = "butt";
    context.lineWidth = 2;
    const points = trail.length / 2;
    let fromX = trail[0] * scale - min.x;
    let fromY = trail[1] * scale - min.y;
    for (let i = 1; i <= points; i++) {
      const toX = i < points ? trail[2 * i] * scale - min.x : x;
      const toY = i < points ? trail[2 * i + 1] * scale - min.y : y;
      // The last point of the trail is the fix it glides from: the stretch to the car is the newest.
      context.globalAlpha = opacity * 0.55 * (i / points) ** 1.4;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
      fromX = toX;
      fromY = toY;
    }
  },

  /** A ring around the chosen car, and a dot where its newest fix is: the glide is ours, the dot is the driver's. */
  _drawSelected(car, x, y, scale, min, now) {
    const context = this._context;
    context.globalAlpha = 1;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, this._scene.fleet.still ? 15 : 15 + Math.sin(now / 260), 0, 7);
    context.stroke();
    context.fillStyle = "#ffffff";
    context.beginPath();
    context.arc(car.x * scale - min.x, car.y * scale - min.y, 2, 0, 7);
    context.fill();
  },
});
