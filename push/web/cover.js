// Few circles over many places: what to subscribe to, so that every car of a view is in at least one. No DOM, no socket.

import { latLonOf, worldPerMetre } from "./fleet.js";

/** Cars drive on between two looks at the circles; and roads are sampled. */
const MARGIN_M = 300;
/** A place where a car may be counts a little, so that halves of an empty city are of a size too. */
const ROAD = 0.2;

/** The direction in which places spread most, as [x, y]. */
function longAxis(places) {
  let [mx, my] = [0, 0];
  for (const { x, y } of places) [mx, my] = [mx + x / places.length, my + y / places.length];
  let [xx, xy, yy] = [0, 0, 0];
  for (const { x, y } of places) {
    xx += (x - mx) ** 2;
    xy += (x - mx) * (y - my);
    yy += (y - my) ** 2;
  }
  const angle = 0.5 * Math.atan2(2 * xy, xx - yy);
  return [Math.cos(angle), Math.sin(angle)];
}

/** The circle around the middle of a group, seen along its long axis; `cars` counts all that are in it. */
function circleOf(group, all) {
  const [ux, uy] = longAxis(group);
  let [minU, maxU, minV, maxV] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { x, y } of group) {
    const [u, v] = [x * ux + y * uy, y * ux - x * uy];
    [minU, maxU, minV, maxV] = [Math.min(minU, u), Math.max(maxU, u), Math.min(minV, v), Math.max(maxV, v)];
  }
  const [u, v] = [(minU + maxU) / 2, (minV + maxV) / 2];
  const [x, y] = [u * ux - v * uy, u * uy + v * ux];
  const unit = worldPerMetre(latLonOf(x, y)[0]);
  let radius = 0;
  for (const place of group) radius = Math.max(radius, Math.hypot(place.x - x, place.y - y));
  radius += MARGIN_M * unit;
  let cars = 0;
  for (const place of all) if (place.car && Math.hypot(place.x - x, place.y - y) <= radius) cars++;
  return { group, axis: [ux, uy], x, y, radius_m: radius / unit, cars };
}

/** Two halves across the long axis: of equal length when the circle is too wide, else with as many cars in each. */
function halves({ group, axis: [ux, uy] }, byLength) {
  const sorted = group.map((place) => ({ place, u: place.x * ux + place.y * uy })).sort((a, b) => a.u - b.u);
  const middle = (sorted[0].u + sorted.at(-1).u) / 2;
  const total = sorted.reduce((sum, { place }) => sum + (place.car ? 1 : ROAD), 0);
  let [cut, sum] = [0, 0];
  for (; cut < sorted.length - 1; cut++) {
    sum += sorted[cut].place.car ? 1 : ROAD;
    if (byLength ? sorted[cut + 1].u > middle : sum >= total / 2) break;
  }
  const places = sorted.map(({ place }) => place);
  return [places.slice(0, cut + 1), places.slice(cut + 1)];
}

/** At most `most` circles, none wider than `maxRadiusM`, over places {x, y, car} in world units. A circle with more
 *  than `full` cars is divided while there are circles left. Returns [{lat, lon, radius_m}]. */
export function cover(places, most, maxRadiusM, full) {
  if (!places.length) return [];
  const circles = [circleOf(places, places)];
  const wide = (circle) => circle.radius_m > maxRadiusM;
  const need = (circle) => (circle.group.length < 2 ? 0 : wide(circle) ? 1e6 + circle.radius_m : circle.cars > full ? circle.cars : 0);
  while (circles.length < most) {
    const worst = circles.reduce((a, b) => (need(b) > need(a) ? b : a));
    if (!need(worst)) break;
    const parts = halves(worst, wide(worst)).filter((part) => part.length);
    circles.splice(circles.indexOf(worst), 1, ...parts.map((part) => circleOf(part, places)));
    if (parts.length < 2) break;
  }
  return circles.map(({ x, y, radius_m }) => {
    const [lat, lon] = latLonOf(x, y);
    return { lat, lon, radius_m: Math.min(radius_m, maxRadiusM) };
  });
}
