// The cars this page knows, and where each is drawn between two fixes. No DOM, no socket.

/** A car is never drawn ahead of its newest fix: it glides there from where it was, in about one ping interval. */
const GLIDE_MIN_MS = 120;
const GLIDE_MAX_MS = 6_000;
const GLIDE_FIRST_MS = 1_000;
/** Across more than this a straight glide would be fiction: the car appears at its new place. */
const JUMP_M = 1_000;
/** A trail is its last fixes this far apart: a few hundred metres of where the car really was. */
const TRAIL_POINTS = 18;
const TRAIL_STEP_M = 18;
const FADE_MS = 350;
const EARTH_RADIUS_M = 6_371_007.180918475;
const EARTH_AROUND_M = 2 * Math.PI * 6_378_137;

/** Web Mercator in [0, 1) each way: what Leaflet draws, divided by 256 * 2^zoom. */
export function worldOf(lat, lon) {
  const sin = Math.sin((lat * Math.PI) / 180);
  return [lon / 360 + 0.5, 0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI)];
}

export function latLonOf(x, y) {
  return [(Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI, (x - 0.5) * 360];
}

/** World units per metre at a latitude. */
export function worldPerMetre(lat) {
  return 1 / (EARTH_AROUND_M * Math.cos((lat * Math.PI) / 180));
}

/** Haversine on the server's sphere. */
export function distanceM(lat1, lon1, lat2, lon2) {
  const rad = Math.PI / 180;
  const a =
    Math.sin(((lat2 - lat1) * rad) / 2) ** 2 +
    Math.cos(lat1 * rad) * Math.cos(lat2 * rad) * Math.sin(((lon2 - lon1) * rad) / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.sqrt(a));
}

/** Keep the fix a car is about to leave, if it is far enough from the one kept last. */
function extendTrail(car) {
  const { trail } = car;
  const [lastX, lastY] = trail.length ? trail.slice(-2) : [-1, -1];
  if (Math.hypot(car.x - lastX, car.y - lastY) < TRAIL_STEP_M * worldPerMetre(car.lat)) return;
  trail.push(car.x, car.y);
  if (trail.length > 2 * TRAIL_POINTS) trail.splice(0, 2);
}

const turn = (from, to) => ((to - from + 540) % 360) - 180;

export class Fleet {
  cars = new Map();
  /** Role of a subscription -> ids of the cars it holds. */
  roles = new Map();
  /** New positions that arrived, for the rate on the panel. */
  received = 0;
  still = false;

  snapshot(role, cars, now) {
    const ids = new Set(cars.map((car) => car.driver_id));
    const before = this.roles.get(role) ?? new Set();
    this.roles.set(role, ids);
    for (const car of cars) this.#place(car, now);
    for (const id of before) if (!ids.has(id)) this.#release(id, now);
  }

  update(role, { enter, move, leave }, now) {
    const ids = this.roles.get(role);
    if (!ids) return;
    for (const car of enter) {
      ids.add(car.driver_id);
      this.#place(car, now);
    }
    for (const car of move) this.#place(car, now, true);
    for (const id of leave) {
      ids.delete(id);
      this.#release(id, now);
    }
  }

  drop(role) {
    const ids = this.roles.get(role) ?? [];
    this.roles.delete(role);
    for (const id of ids) this.#release(id, performance.now());
  }

  /** Forget everything at once: the server's event time is another one (a recording was started again). */
  clear() {
    this.cars.clear();
    this.roles.clear();
  }

  holds(role, id) {
    return this.roles.get(role)?.has(id) ?? false;
  }

  /** Forget cars that faded out, and hide those nobody has heard of for too long, also when the server is away. */
  prune(eventMs, goneAfterMs, now) {
    for (const [id, car] of this.cars) {
      if (car.leftAt !== null && now - car.leftAt > FADE_MS) this.cars.delete(id);
      else if (car.leftAt === null && eventMs - car.fix_time_ms >= goneAfterMs) {
        for (const ids of this.roles.values()) ids.delete(id);
        car.leftAt = now;
      }
    }
  }

  /** Where a car is drawn at `now`, in world units: on the straight line to its newest fix, never past it. */
  drawnAt(car, now) {
    const f = car.glideMs > 0 ? Math.min(1, (now - car.glideFrom) / car.glideMs) : 1;
    return [car.fromX + (car.x - car.fromX) * f, car.fromY + (car.y - car.fromY) * f];
  }

  headingAt(car, now) {
    if (car.heading === null) return null;
    const f = Math.min(1, (now - car.turnFrom) / 400);
    return car.fromHeading + turn(car.fromHeading, car.heading) * (this.still ? 1 : f);
  }

  /** 0..1: fading in after it entered, out after it left. */
  opacityAt(car, now) {
    if (this.still) return car.leftAt === null ? 1 : 0;
    if (car.leftAt !== null) return Math.max(0, 1 - (now - car.leftAt) / FADE_MS);
    return Math.min(1, (now - car.enteredAt) / FADE_MS);
  }

  #place(wire, now, moved = false) {
    const known = this.cars.get(wire.driver_id);
    // Two subscriptions may tell of one car in any order: the newer fix stands, and no car moves back in time.
    if (known && wire.fix_time_ms < known.fix_time_ms) return;
    if (known && wire.fix_time_ms === known.fix_time_ms && known.leftAt === null) {
      known.freshness = wire.freshness;
      return;
    }
    this.received++;
    const [x, y] = worldOf(wire.lat, wire.lon);
    const car = known ?? {
      x, y, fromX: x, fromY: y, enteredAt: now, movedAt: null, intervalMs: null,
      heading: null, fromHeading: 0, turnFrom: 0, trail: [],
    };
    if (known && known.leftAt !== null) car.enteredAt = now;
    const [atX, atY] = this.drawnAt(car, now);
    const movedM = Math.hypot(x - car.x, y - car.y) / worldPerMetre(wire.lat);
    if (known && known.leftAt === null && movedM < JUMP_M) {
      extendTrail(car);
      if (car.movedAt !== null) {
        const interval = Math.min(GLIDE_MAX_MS, now - car.movedAt);
        car.intervalMs = car.intervalMs === null ? interval : 0.7 * car.intervalMs + 0.3 * interval;
      }
      car.fromX = atX;
      car.fromY = atY;
      const glide = Math.max(GLIDE_MIN_MS, Math.min(GLIDE_MAX_MS, 1.1 * (car.intervalMs ?? GLIDE_FIRST_MS)));
      car.glideMs = this.still ? 0 : glide;
    } else {
      car.trail = [];
      car.fromX = x;
      car.fromY = y;
      car.glideMs = 0;
    }
    car.glideFrom = car.movedAt = now;
    car.x = x;
    car.y = y;
    const heading = wire.heading_deg ?? null;
    if (heading !== null) {
      car.fromHeading = this.headingAt(car, now) ?? heading;
      car.turnFrom = now;
    }
    car.heading = heading;
    car.leftAt = null;
    // Of a move it is worth to know when it is drawn; where a car was before anybody looked is old by nature.
    car.undrawn = moved;
    for (const name of ["driver_id", "lat", "lon", "fix_time_ms", "freshness", "cell"]) car[name] = wire[name];
    car.type = wire.vehicle_type ?? "";
    car.speed_mps = wire.speed_mps ?? null;
    car.accuracy_m = wire.accuracy_m ?? null;
    this.cars.set(car.driver_id, car);
  }

  #release(id, now) {
    for (const ids of this.roles.values()) if (ids.has(id)) return;
    const car = this.cars.get(id);
    if (car && car.leftAt === null) car.leftAt = now;
  }
}
