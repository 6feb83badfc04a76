// The city at work: what the stage says and what push says, put together. Watches the whole view while it is on.

import { cover } from "./cover.js";
import { worldOf, worldPerMetre } from "./fleet.js";
import { HeatLayer } from "./heat.js";
import { WaysLayer, jobOf } from "./jobs.js";
import { Phone } from "./phone.js";

/** Roads are thinned to one place in a square this wide: a cover need not be finer than its margin. */
const ROAD_EVERY_M = 200;
/** A circle that holds more than this share of what a subscription may is divided; cars move in and out. */
const FULL = 0.8;
const LOOK_EVERY_MS = 3_000;
const SHADE_EVERY_MS = 1_000;
/** From afar a car takes long for a pixel. A picture is painted when the fastest has moved by this much, but at least as
 *  often as an eye takes for smooth: it leaves the processor to everything else, where there is no graphics card. */
const STEP_PX = 0.4;
const FASTEST_MPS = 25;
const SELDOM_MS = 50;
const PIXELS_KEPT = 2_000;

export class City {
  on = false;
  scene = null;
  /** Trips by driver id. */
  trips = new Map();
  phone = new Phone();
  showHeat = true;
  bounds = null;
  #map; #fleet; #subscriptions; #limits; #heat; #ways;
  #roads = []; #circles = []; #lookedAt = -Infinity; #known = 0; #shadedAt = -Infinity; #pixels = [];

  /** `limits()` as of the server's welcome. */
  constructor(map, fleet, subscriptions, limits) {
    this.#map = map;
    this.#fleet = fleet;
    this.#subscriptions = subscriptions;
    this.#limits = limits;
    this.#heat = new HeatLayer(() => this.#circles.filter(Boolean));
    const city = this;
    this.#ways = new WaysLayer({
      fleet,
      get trips() {
        return city.trips;
      },
      get followed() {
        return city.phone.trip?.trip_id ?? null;
      },
    });
  }

  /** Where cars may be, from the base map: `roads` are lines of [lon, lat]. */
  knowGround({ roads, bounds }) {
    this.bounds = bounds;
    const places = new Map();
    for (const line of roads) {
      for (const [lon, lat] of line) {
        const [x, y] = worldOf(lat, lon);
        const step = ROAD_EVERY_M * worldPerMetre(lat);
        places.set(`${Math.floor(x / step)}|${Math.floor(y / step)}`, { x, y, car: false });
      }
    }
    this.#roads = [...places.values()];
    if (this.on) this.watch();
  }

  hear(scene) {
    this.scene = scene;
    this.trips = new Map(scene.trips.map((trip) => [trip.driver_id, trip]));
  }

  enter() {
    this.on = true;
    this.#ways.addTo(this.#map);
    this.watch();
  }

  leave() {
    this.on = false;
    this.#ways.remove();
    this.#heat.remove();
    this.phone.hide();
    this.#follow([]);
  }

  get requests() {
    return this.on ? this.scene.requests : [];
  }

  /** "" for a car that is free, or while nobody says. */
  jobOf(car) {
    const trip = this.on && this.trips.get(car.driver_id);
    return trip ? jobOf(trip) : "";
  }

  /** [lat, lon] of the car on the rider's phone, or null. */
  whereIsThePhone() {
    const car = this.#fleet.cars.get(this.phone.trip?.driver_id);
    return car ? [car.lat, car.lon] : null;
  }

  /** Circles over everything in view where a car is or may be. */
  watch() {
    const bounds = this.#map.getBounds();
    const [west, north] = worldOf(bounds.getNorth(), bounds.getWest());
    const [east, south] = worldOf(bounds.getSouth(), bounds.getEast());
    const seen = ({ x, y }) => x >= west && x <= east && y >= north && y <= south;
    const places = this.#roads.filter(seen);
    for (const { x, y, leftAt } of this.#fleet.cars.values()) if (leftAt === null && seen({ x, y })) places.push({ x, y, car: true });
    if (!places.length) places.push({ x: west, y: north, car: false }, { x: east, y: south, car: false });
    const { max_subscriptions: most, max_radius_m: radius, max_cars: limit } = this.#limits();
    this.#known = this.#fleet.cars.size;
    this.#follow(cover(places, most, radius, FULL * limit));
  }

  /** Each circle that is watched moves to the nearest of the new ones, so that few cars leave and come back. */
  #follow(circles) {
    const wanted = [...circles];
    const next = this.#circles.map((circle) => {
      if (!circle || !wanted.length) return null;
      const far = ({ lat, lon }) => Math.hypot(lat - circle.lat, lon - circle.lon);
      const nearest = wanted.reduce((a, b) => (far(b) < far(a) ? b : a));
      return wanted.splice(wanted.indexOf(nearest), 1)[0];
    });
    for (const circle of wanted) {
      const gap = next.indexOf(null);
      if (gap < 0) next.push(circle);
      else next[gap] = circle;
    }
    // What goes makes room first: there may be only so many subscriptions.
    next.forEach((circle, i) => circle ?? this.#subscriptions.stop(`city-${i}`));
    next.forEach((circle, i) => circle && this.#subscriptions.watch(`city-${i}`, { ...circle, limit: this.#limits().max_cars }));
    this.#circles = next;
  }

  /** How long each of these fixes took to be drawn; of a few thousand the middle and the slowest hundredth. */
  drew(delaysMs) {
    this.#pixels.push(...delaysMs);
    if (this.#pixels.length > PIXELS_KEPT) this.#pixels.splice(0, this.#pixels.length - PIXELS_KEPT);
  }

  get pixelMs() {
    if (!this.#pixels.length) return null;
    const sorted = this.#pixels.toSorted((a, b) => a - b);
    return { p50: sorted[sorted.length >> 1], p99: sorted[Math.floor(sorted.length * 0.99)] };
  }

  get figures() {
    return { circles: this.#circles.filter(Boolean).length, ways: this.#ways.drawn, cells: this.#heat.cells, pixelMs: this.pixelMs };
  }

  /** How long a picture of the cars will do. */
  get paintEveryMs() {
    if (!this.on) return 0;
    const { lat } = this.#map.getCenter();
    const metresPerPx = 1 / (worldPerMetre(lat) * 256 * 2 ** this.#map.getZoom());
    const ms = (1_000 * STEP_PX * metresPerPx) / FASTEST_MPS;
    return ms < 17 ? 0 : Math.min(SELDOM_MS, ms);
  }

  /** Called a few times a second. */
  tick(now) {
    if (!this.on) return;
    this.phone.show(this.scene.trips, now);
    if (now - this.#lookedAt > LOOK_EVERY_MS) {
      this.#lookedAt = now;
      // A subscription that is full may hide cars: its circle is divided, now that its cars are known.
      const { max_cars: limit } = this.#limits();
      const full = this.#circles.some((circle, i) => circle && (this.#fleet.roles.get(`city-${i}`)?.size ?? 0) >= limit);
      if (full && Math.abs(this.#fleet.cars.size - this.#known) > 0.02 * this.#known) this.watch();
    }
    const shown = this.#map.hasLayer(this.#heat);
    if (shown !== this.showHeat) this.#heat[shown ? "remove" : "addTo"](this.#map);
    if (this.showHeat && now - this.#shadedAt > SHADE_EVERY_MS) {
      this.#shadedAt = now;
      this.#heat.shade([...this.#fleet.cars.values()].filter((car) => car.leftAt === null && !this.trips.has(car.driver_id)), now);
    }
  }

  frame(now) {
    if (this.on) this.#ways.tick(now);
  }
}
