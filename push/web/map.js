// The live map: reads its configuration, builds the parts and joins them. Start reading here.

import { addBaseMap } from "./basemap.js";
import { CarsLayer } from "./cars.js";
import { Cells } from "./cells.js";
import { City } from "./city.js";
import { EventClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Fleet, latLonOf } from "./fleet.js";
import { followStage } from "./modes.js";
import { Panel } from "./panel.js";
import { Subscriptions } from "./subscriptions.js";
import { Tokens } from "./tokens.js";
import { createMap, free, narrow, readConfig, reducedMotion } from "./view.js";

const PANEL_EVERY_MS = 250;
/** Someone who asked for less motion gets a still picture this often, and no gliding. */
const STILL_EVERY_MS = 500;
const DELAYS_KEPT = 200;
const $ = (id) => document.getElementById(id);

const config = await readConfig();
const clock = new EventClock();
const fleet = new Fleet();
fleet.still = reducedMotion.matches;
reducedMotion.addEventListener("change", () => (fleet.still = reducedMotion.matches));

let staleAfterMs = 30_000;
let goneAfterMs = 120_000;
let limits = { max_radius_m: config.radius_m, max_cars: 500, max_subscriptions: 8 };
const delays = [];

const scene = {
  fleet,
  rider: { ...config.center, radius_m: config.radius_m },
  selected: null,
  /** Set where there is a stage. */
  city: null,
  /** Where a rider stands and looks around; nobody does while the whole city is in view. */
  get circle() {
    return scene.city?.on ? null : scene.rider;
  },
  get followed() {
    return scene.city?.on ? (scene.city.phone.trip?.driver_id ?? null) : null;
  },
  get requests() {
    return scene.city?.requests ?? [];
  },
  jobOf: (car) => scene.city?.jobOf(car) ?? "",
  drew: (fixTimes) => {
    if (!scene.city?.on || clock.rate <= 0) return;
    const nowMs = clock.now(performance.now());
    scene.city.drew(fixTimes.map((ms) => (nowMs - ms) / clock.rate + connection.transitMs));
  },
  get limit() {
    return limits.max_cars;
  },
  get connected() {
    return connection.live;
  },
  eventMs: () => clock.now(performance.now()),
  ageOf: (car) => scene.eventMs() - car.fix_time_ms,
  // Without a connection nobody vouches for a position any more: every car is shown as last seen.
  isStale: (car) => !connection.live || car.freshness === "stale" || scene.ageOf(car) >= staleAfterMs,
};

const tokens = new Tokens(config.guest_riders);
const connection = new Connection(config.ws_url, config.subprotocol, tokens);
const subscriptions = new Subscriptions(connection, fleet, onMessage);
const panel = new Panel(scene, choose);

// ---- the map -------------------------------------------------------------------------------------------------

const map = createMap({ doubleClickZoom: false });

function fitCircle(animate) {
  const { lat, lon, radius_m } = scene.rider;
  map.fitBounds(L.latLng(lat, lon).toBounds(2 * radius_m), { ...free(), animate });
}

if (narrow.matches) $("more").open = false;
if (matchMedia("(pointer: coarse)").matches) $("hint").textContent = "Tap anywhere to stand there";
fitCircle(false);
const cars = new CarsLayer(scene).addTo(map);
const cells = new Cells(map);
const ground = addBaseMap(map, config.base_map).catch(() => null);

const here = L.marker([scene.rider.lat, scene.rider.lon], {
  icon: L.divIcon({ className: "here", iconSize: [22, 22] }),
  draggable: true, autoPan: true, title: "You stand here: drag me, or click the map", alt: "You stand here",
  zIndexOffset: 1000,
}).addTo(map);

// ---- standing somewhere --------------------------------------------------------------------------------------

function stand(lat, lon) {
  scene.rider = { ...scene.rider, lat, lon };
  here.setLatLng([lat, lon]);
  watch();
  $("hint").classList.add("done");
}

function watch() {
  if (scene.city?.on) return scene.city.watch();
  const { lat, lon, radius_m } = scene.rider;
  subscriptions.watch("near", { lat, lon, radius_m, limit: limits.max_cars });
  if ($("show-cells").checked) cells.show(scene.rider);
}

function watchView() {
  if (scene.city?.on) return scene.city.watch();
  if (!$("show-view").checked) return subscriptions.stop("view");
  const center = map.getCenter();
  const corner = map.getBounds().getNorthEast();
  const radius_m = Math.max(100, Math.min(limits.max_radius_m, center.distanceTo(corner)));
  subscriptions.watch("view", { lat: center.lat, lon: center.lng, radius_m, limit: limits.max_cars });
}

function choose(car) {
  scene.selected = car && scene.selected === car ? null : car;
  panel.render(performance.now(), figures);
}

map.on("click", ({ containerPoint, latlng }) => {
  const car = cars.at(containerPoint);
  if (car) choose(car);
  else if (!scene.city?.on) stand(latlng.lat, latlng.lng);
});
here.on("drag", () => stand(here.getLatLng().lat, here.getLatLng().lng));
map.on("moveend", watchView);
// The cross at the centre is for those who steer by keys; Leaflet focuses the map on a click as well.
map.getContainer().addEventListener("pointerdown", () => map.getContainer().classList.remove("keys"));
addEventListener("keydown", () => map.getContainer().classList.add("keys"));
map.getContainer().addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !scene.city?.on && event.target === map.getContainer()) {
    const { lat, lng } = map.getCenter();
    stand(lat, lng);
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && scene.selected) choose(null);
});
$("radius").addEventListener("input", () => {
  scene.rider = { ...scene.rider, radius_m: Number($("radius").value) };
  watch();
});
$("radius").addEventListener("change", () => fitCircle(!reducedMotion.matches));
$("show-cells").addEventListener("change", () => ($("show-cells").checked ? cells.show(scene.rider) : cells.hide()));
$("show-view").addEventListener("change", watchView);

const tip = $("tip");
let pointer = null;
/** Cars move under a pointer that rests: asked on every move and with every panel. */
function showTip() {
  const car = pointer && cars.at(pointer);
  map.getContainer().classList.toggle("over-car", Boolean(car));
  tip.hidden = !car;
  if (!car) return;
  tip.textContent = `${car.driver_id} · ${scene.isStale(car) ? "stale" : "live"}`;
  tip.style.transform = `translate(${pointer.x + 14}px, ${pointer.y + 14}px)`;
}
map.on("mousemove", ({ containerPoint }) => {
  pointer = containerPoint;
  showTip();
});
map.on("mouseout", () => {
  pointer = null;
  showTip();
});

// ---- the city at work, while there is a stage ------------------------------------------------------------------

/** What the city takes the place of, and gives it back to. */
const near = {
  leave() {
    for (const role of ["near", "view"]) subscriptions.stop(role);
    cells.hide();
    here.remove();
  },
  enter() {
    here.addTo(map);
    fitCircle(false);
    watch();
    watchView();
  },
};
if (config.stage_url) {
  scene.city = new City(map, fleet, subscriptions, () => limits);
  ground.then((known) => known && scene.city.knowGround(known));
  followStage(config.stage_url, { map, city: scene.city, near, choose, ready: ground, drawn: () => cars.drawn });
}

// ---- what the server says ------------------------------------------------------------------------------------

function onMessage(message, now) {
  if (message.type === "welcome") {
    ({ stale_after_ms: staleAfterMs, gone_after_ms: goneAfterMs } = message);
    // A recording that was started again is another time: nothing known from before can be compared with it.
    if (clock.known && message.server_time_ms < clock.now(now) - goneAfterMs) fleet.clear();
    clock.reset();
    limits = { ...limits, ...message.limits };
    const slider = $("radius");
    slider.max = String(limits.max_radius_m);
    slider.min = String(Math.min(250, limits.max_radius_m / 4));
    scene.rider.radius_m = Math.min(scene.rider.radius_m, limits.max_radius_m);
    slider.value = String(scene.rider.radius_m);
  }
  if (message.server_time_ms) clock.observe(message.server_time_ms, now);
  if (message.type === "welcome") {
    watch();
    watchView();
  } else if (message.type === "update" && clock.rate > 0) {
    for (const car of message.move) {
      delays.push((message.server_time_ms - car.fix_time_ms) / clock.rate + connection.transitMs);
      if (delays.length > DELAYS_KEPT) delays.shift();
    }
  } else if (message.type === "error") {
    console.info(`ridestream: ${message.code}: ${message.detail}`);
  }
}

connection.addEventListener("state", ({ detail }) => panel.state(detail, performance.now()));
$("retry").addEventListener("click", () => connection.retry());
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    $("notice-text").textContent = "That is not a token: it has three parts with dots between them.";
    return;
  }
  $("token").value = "";
  tokens.paste(token);
  connection.retry();
});

// ---- time ----------------------------------------------------------------------------------------------------

const figures = { rate: 0, delayMs: null, clockRate: 1, eventMs: 0, frames: 0, painted: 0 };
const receipts = [];

function measure(now) {
  receipts.push({ now, received: fleet.received });
  while (receipts.length > 2 && receipts[0].now < now - 5_000) receipts.shift();
  const [first, last] = [receipts[0], receipts[receipts.length - 1]];
  const span = last.now - first.now;
  figures.rate = span > 0 ? Math.round(((last.received - first.received) * 1000) / span) : 0;
  const sorted = delays.toSorted((a, b) => a - b);
  figures.delayMs = connection.live && sorted.length ? sorted[sorted.length >> 1] : null;
  figures.clockRate = clock.rate;
  figures.eventMs = scene.eventMs();
}

setInterval(() => {
  const now = performance.now();
  measure(now);
  fleet.prune(figures.eventMs, goneAfterMs, now);
  if (connection.state.name === "reconnecting") panel.state(connection.state, now);
  panel.render(now, figures);
  showTip();
  scene.city?.tick(now);
  if ($("show-cells").checked) cells.shade(fleet.cars.values(), now);
}, PANEL_EVERY_MS);

let drawnAt = 0;
function frame(now) {
  figures.frames++;
  if (now - drawnAt >= (fleet.still ? STILL_EVERY_MS : (scene.city?.paintEveryMs ?? 0))) {
    drawnAt = now;
    figures.painted++;
    cars.frame(now);
    scene.city?.frame(now);
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

panel.state(connection.state, performance.now());
connection.retry();

/** Read-only view for tests and the curious console: copies, so that nothing here can be changed from outside. */
window.ridestream = Object.freeze({
  get state() {
    return { ...connection.state };
  },
  get rider() {
    return { ...scene.rider };
  },
  get figures() {
    return { ...figures, gaps: subscriptions.gaps, cells: cells.count };
  },
  get city() {
    const { city } = scene;
    return city?.on ? { ...city.figures, phone: city.phone.trip, trips: city.trips.size, requests: city.requests.length } : null;
  },
  get cars() {
    const now = performance.now();
    return cars.drawn.map(({ car, x, y, stale, job }) => {
      const [lat, lon] = latLonOf(...fleet.drawnAt(car, now));
      return {
        driver_id: car.driver_id, x, y, lat, lon, stale, job, fix_time_ms: car.fix_time_ms, type: car.type,
        fix: { lat: car.lat, lon: car.lon }, near: fleet.holds("near", car.driver_id), left: car.leftAt !== null,
      };
    });
  },
});
