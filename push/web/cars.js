// The canvas with everything that moves: trails, cars, your circle. One clear and one pass a frame.

import { worldOf, worldPerMetre } from "./fleet.js";
import { HALF, TURNS, sprite, typeOf } from "./glyphs.js";
import { Overlay } from "./overlay.js";
import { drawWaiting } from "./waiting.js";

/** Above this many cars they are a crowd: without trails, which cost more than the cars themselves, and stamped from
 *  pictures that are turned already, at whole pixels, which takes a third of the time. */
const CROWD = 600;
const HIT_PX = 15;

/** Of a whole city seen at once: cars that work for somebody are drawn so much larger than those that wait for work. */
const BUSY = 1.6;

/** Leaflet layer. `scene` gives fleet, circle ({lat, lon, radius_m}, or null), selected, followed (a driver id),
 *  isStale(car), jobOf(car), requests, and drew(fixTimes), told which fixes of cars that moved are drawn for the first
 *  time. */
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
    const { fleet, circle, selected, followed, isStale, jobOf, requests } = this._scene;
    if (circle) this._drawCircle(circle, scale, min, size);

    const glyphScale = Math.max(circle ? 0.66 : 0.36, Math.min(1.5, 0.98 + (zoom - 14) * (circle ? 0.16 : 0.3)));
    const step = Math.round(glyphScale * ratio * 16) / 16;
    const busyStep = circle ? step : Math.round(Math.max(1, Math.min(BUSY, 1 + ((BUSY - 1) * (15 - zoom)) / 3)) * glyphScale * ratio * 16) / 16;
    const crowd = fleet.cars.size > CROWD;
    // Live cars lie on top of stale ones, and those at work on top; always in the same order.
    const layers = [[], [], []];
    const fresh = [];
    for (const car of fleet.cars.values()) {
      const [wx, wy] = fleet.drawnAt(car, now);
      const x = wx * scale - min.x;
      const y = wy * scale - min.y;
      if (x < -HALF || y < -HALF || x > size.x + HALF || y > size.y + HALF) continue;
      const stale = isStale(car);
      const job = jobOf(car);
      layers[stale ? 0 : job ? 2 : 1].push({ car, x, y, stale, job });
      if (car.undrawn) fresh.push(car.fix_time_ms);
      car.undrawn = false;
    }
    const drawn = layers.flat();
    this.drawn = drawn;
    if (!crowd && !fleet.still) for (const item of drawn) if (!item.stale) this._drawTrail(item, scale, min, now);
    for (const item of drawn) {
      const { car, x, y, stale, job } = item;
      const heading = fleet.headingAt(car, now);
      const pixels = job ? busyStep : step;
      const turn = crowd && heading !== null ? Math.round(((((heading % 360) + 360) % 360) * TURNS) / 360) % TURNS : 0;
      const image = sprite(car.type, stale ? "hollow" : "live", heading !== null, pixels, job, turn);
      const beyond = circle && !fleet.holds("near", car.driver_id) && car.leftAt === null;
      context.globalAlpha = fleet.opacityAt(car, now) * (beyond ? 0.5 : 1);
      if (crowd) {
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.drawImage(image, Math.round(x * ratio - image.width / 2), Math.round(y * ratio - image.height / 2));
      } else {
        const half = HALF * (pixels / ratio);
        context.translate(x, y);
        if (heading !== null) context.rotate((heading * Math.PI) / 180);
        context.drawImage(image, -half, -half, 2 * half, 2 * half);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (car === selected) this._drawSelected(car, x, y, scale, min, now);
      if (car.driver_id === followed) this._drawFollowed(x, y);
    }
    context.globalAlpha = 1;
    drawWaiting(context, requests, { scale, min, size, zoom }, now, fleet.still);
    if (fresh.length) this._scene.drew(fresh);
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

  /** The car on the rider's phone. */
  _drawFollowed(x, y) {
    const context = this._context;
    context.globalAlpha = 1;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(x, y, 17, 0, 7);
    context.stroke();
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
