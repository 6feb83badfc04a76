// A way on the map from an encoded polyline, and the part of it that is still ahead of a place. No DOM.

import { latLonOf, worldOf, worldPerMetre } from "./fleet.js";

/** A place further from the way than this is not on it. */
const OFF_M = 80;
/** How far ahead a car may be found between two looks; further only when it is nowhere near, as after a gap. */
const REACH_M = 1_500;

/** Google's encoded polyline, 5 decimals: an array of [lat, lon]. What cannot be read is no way at all. */
export function decode(text) {
  const points = [];
  let at = 0;
  const totals = [0, 0];
  while (at < text.length) {
    for (const axis of [0, 1]) {
      let value = 0;
      let factor = 1;
      for (let chunk = 32; chunk >= 32; factor *= 32) {
        chunk = text.charCodeAt(at++) - 63;
        if (!(chunk >= 0 && chunk < 64)) return [];
        value += (chunk % 32) * factor;
      }
      totals[axis] += value % 2 ? -(value + 1) / 2 : value / 2;
    }
    points.push([totals[0] / 1e5, totals[1] / 1e5]);
  }
  return points;
}

export class Way {
  /** In world units, as fleet.js has them. */
  points;
  #from = 0;

  constructor(encoded) {
    this.points = decode(encoded ?? "").map(([lat, lon]) => worldOf(lat, lon));
  }

  /** Points [x, y] from the one beside (x, y) to the end, or null when that place is off the way. A way that crosses
   *  itself is followed in order: what a car has passed does not come back. */
  ahead(x, y) {
    const unit = worldPerMetre(latLonOf(x, y)[0]);
    let best = this.#nearest(x, y, REACH_M * unit);
    if (!best || best.off > OFF_M * unit) best = this.#nearest(x, y, Infinity);
    if (!best || best.off > OFF_M * unit) return null;
    this.#from = best.segment;
    return [best.point, ...this.points.slice(best.segment + 1)];
  }

  #nearest(x, y, reach) {
    let best = null;
    let far = 0;
    for (let i = this.#from; i < this.points.length - 1 && far <= reach; i++) {
      const [[ax, ay], [bx, by]] = [this.points[i], this.points[i + 1]];
      const [dx, dy] = [bx - ax, by - ay];
      const length = Math.hypot(dx, dy);
      const t = length ? Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length ** 2)) : 0;
      const point = [ax + t * dx, ay + t * dy];
      const off = Math.hypot(point[0] - x, point[1] - y);
      if (!best || off < best.off) best = { segment: i, point, off };
      far += length;
    }
    return best;
  }
}
