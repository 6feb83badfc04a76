// A shared trip: reads the link and the configuration, builds the parts and joins them. Start reading here.

import { addBaseMap } from "./basemap.js";
import { EventClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Fleet, latLonOf } from "./fleet.js";
import { CarLayer } from "./share-car.js";
import { ShareLink } from "./share-link.js";
import { RouteLayer, Stops, stopsAhead } from "./share-route.js";
import { Sheet } from "./share-sheet.js";
import { Trip } from "./share-trip.js";
import { createMap, free, narrow, readConfig, reducedMotion } from "./view.js";

const SHEET_EVERY_MS = 200;
const STILL_EVERY_MS = 500;
/** In a frame it is one picture among many, a few centimetres wide, and leaves time to the others. */
const FRAMED_EVERY_MS = 60;
const SUB = "trip";
/** A trip the server does not know (its Redis may be filling again) is asked for again after this. */
const ASK_AGAIN_MS = 5_000;
/** A device that slept: its clock went on, the page's stood still. Less than this is a clock being set. */
const SLEPT_MS = 1_500;
/** How the map is framed: no nearer than this, however short the rest of the way. */
const NEAREST_ZOOM = 16.5;
const NEUTRAL_ZOOM = 12;
/** Close codes after which the link shows nothing any more: expired, bad, not for this, ended. */
const LINK_OVER = new Set([4005, 4500, 4503, 4506]);
const OVER = ["This trip has ended", "This link shows nothing any more. If you still need to know where somebody is, ask them for a new one."];
const INCOMPLETE = ["This link is not complete", "Open the whole link that was sent to you, up to its last character."];
const $ = (id) => document.getElementById(id);

const link = new ShareLink();
const config = await readConfig();
const limits = { staleAfterMs: config.trip_stale_after_ms, lostAfterMs: config.trip_lost_after_ms };
const clock = new EventClock();
const trip = new Trip();
const fleet = new Fleet();
fleet.still = reducedMotion.matches;
reducedMotion.addEventListener("change", () => (fleet.still = reducedMotion.matches));
const connection = new Connection(config.ws_url, config.subprotocol, link);
const sheet = new Sheet();

const eventMs = () => clock.now(performance.now());
const scene = {
  fleet,
  get trip() {
    return trip.trip;
  },
  car: () => (trip.car && fleet.cars.get(trip.car.driver_id)) ?? null,
  freshness: () => trip.freshness(eventMs(), limits, connection.live),
  ageMs: () => (trip.car ? Math.max(0, eventMs() - trip.car.fix_time_ms) : 0),
};

// ---- the map -------------------------------------------------------------------------------------------------

let map = createMap();
const neutral = () => map.setView(config.center, NEUTRAL_ZOOM, { animate: false });
neutral();
map.on("moveend", () => stops.turn());
const route = new RouteLayer(scene).addTo(map);
const carLayer = new CarLayer(scene).addTo(map);
const stops = new Stops(map);
addBaseMap(map, config.base_map).catch(() => {});
if (narrow.matches) $("more").open = false;

/** Whether the map keeps the car and its next stop in sight; until the viewer moves it. */
let following = true;
let framed = "";

function leaveFollowing() {
  if (!trip.car) return;
  following = false;
  $("follow").hidden = false;
}
map.on("dragstart", leaveFollowing);
for (const event of ["wheel", "dblclick"]) map.getContainer().addEventListener(event, leaveFollowing, { passive: true });
map.getContainer().addEventListener("touchstart", (event) => event.touches.length > 1 && leaveFollowing(), { passive: true });
map.getContainer().addEventListener("keydown", ({ key }) => /^(Arrow|[-+=]$)/.test(key) && leaveFollowing());
for (const button of document.querySelectorAll(".leaflet-control-zoom a")) button.addEventListener("click", leaveFollowing);
$("follow").addEventListener("click", () => {
  following = true;
  $("follow").hidden = true;
  framed = "";
  frameMap();
});

/** The car, the next stop and the way between them, in the part of the screen the sheet leaves free. */
function frameMap() {
  const car = scene.car();
  const [next] = stopsAhead(trip.trip);
  if (!following || (!car && !next)) return;
  const bounds = L.latLngBounds([]);
  if (next) bounds.extend([next.lat, next.lon]);
  if (car) bounds.extend([car.lat, car.lon]);
  const [line] = route.ahead;
  if (line?.style === "now") for (const [x, y] of line.points) bounds.extend(latLonOf(x, y));
  const { paddingTopLeft: [left, top], paddingBottomRight: [right, bottom] } = free();
  const size = map.getSize();
  const wanted = `${next?.key}|${trip.trip.state}|${Boolean(car)}|${size.x}x${size.y}|${Math.round(bottom / 40)}`;
  const place = car && map.latLngToContainerPoint([car.lat, car.lon]);
  const inSight = !place || (place.x > left + 20 && place.x < size.x - right - 20 && place.y > top + 40 && place.y < size.y - bottom - 40);
  if (wanted === framed && inSight && !tooWide(bounds)) return;
  framed = wanted;
  const margin = narrow.matches ? 34 : 60;
  const under = narrow.matches ? 76 : 80; // an old position has its age written below it
  map.fitBounds(bounds, {
    paddingTopLeft: [left + margin, top + margin], paddingBottomRight: [right + margin, bottom + under],
    maxZoom: NEAREST_ZOOM, animate: !reducedMotion.matches,
  });
}

/** The way has become so short that the frame is much too wide for it. */
function tooWide(bounds) {
  return map.getBoundsZoom(bounds) > map.getZoom() + 2 && map.getZoom() < NEAREST_ZOOM - 0.5;
}

// ---- what the server says ------------------------------------------------------------------------------------

let askAgain = 0;
const subscribe = () => connection.send(trip.subscription(SUB, link.tripId));

connection.addEventListener("message", ({ detail: message }) => {
  const now = performance.now();
  if (message.type === "welcome") clock.reset();
  if (message.server_time_ms) clock.observe(message.server_time_ms, now);
  if (message.type === "welcome") subscribe();
  if (message.type === "error" && message.sub === SUB) {
    clearTimeout(askAgain);
    askAgain = setTimeout(() => connection.live && subscribe(), ASK_AGAIN_MS);
  }
  if (message.sub !== SUB) return;
  trip.hear(message);
  if (trip.ended !== null) return finish(OVER);
  fleet.snapshot(SUB, trip.car ? [trip.car] : [], now);
  stops.show(trip.trip);
  frameMap();
  stops.turn();
});

connection.addEventListener("state", ({ detail: { name, code } }) => {
  if (name === "token" && code === undefined) finish(INCOMPLETE);
  else if (LINK_OVER.has(code)) finish(OVER);
});
$("retry").addEventListener("click", () => connection.retry());

let finished = false;
/** No place is left: not on the map, not in the page, not in the tab. */
function finish(end) {
  if (finished) return;
  finished = true;
  clearTimeout(askAgain);
  trip.end("over");
  fleet.clear();
  stops.show(null);
  if (end === OVER) link.discard();
  connection.leave();
  // A new map: a zoom of the old one that is on its way would arrive at the trip after all. (Leaflet ends it on a timer,
  // also of a map that is gone, and stumbles; so it is told that there is none.)
  map._animatingZoom = false;
  map.remove();
  map = createMap({ keyboard: false });
  neutral();
  addBaseMap(map, config.base_map).catch(() => {});
  sheet.over(...end);
}

// ---- time ----------------------------------------------------------------------------------------------------

let wallMs = Date.now();
let localMs = performance.now();
/** A phone that slept shows an old position: its age goes on at once, and the connection is begun anew. */
function noticeSleep(now) {
  const slept = Date.now() - wallMs - (now - localMs);
  [wallMs, localMs] = [Date.now(), now];
  if (slept < SLEPT_MS) return;
  clock.skip(slept);
  connection.restart();
}

function tick() {
  if (finished) return;
  const now = performance.now();
  noticeSleep(now);
  fleet.prune(eventMs(), Infinity, now);
  frameMap();
  sheet.render({
    trip: trip.trip, progress: trip.progress, car: trip.car, events: trip.events, freshness: scene.freshness(),
    ageMs: scene.ageMs(), eventMs: eventMs(), connection: connection.state, offline: !connection.live, now,
  });
}
setInterval(tick, SHEET_EVERY_MS);
document.addEventListener("visibilitychange", tick);

let drawnAt = 0;
function frame(now) {
  if (finished) return;
  if (now - drawnAt >= (fleet.still ? STILL_EVERY_MS : self === top ? 0 : FRAMED_EVERY_MS)) {
    drawnAt = now;
    route.frame(now);
    carLayer.frame(now);
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

if (link.tripId) connection.retry();
else finish(link.over ? OVER : INCOMPLETE);

/** Read-only view for tests and the curious console. It holds no token, and after the end no place. */
window.ridestream = Object.freeze({
  get state() {
    return { ...connection.state };
  },
  get trip() {
    return { freshness: scene.freshness(), ageMs: scene.ageMs(), ended: trip.ended, offset: trip.offset, stops: stops.count };
  },
  get lines() {
    return finished ? [] : route.ahead.map(({ style, points }) => ({ style, points: points.map(([x, y]) => latLonOf(x, y)) }));
  },
  get car() {
    const drawn = carLayer.drawn;
    if (!drawn || !scene.car()) return null;
    const { car, x, y, freshness, heading } = drawn;
    const [lat, lon] = latLonOf(...fleet.drawnAt(car, performance.now()));
    return { x, y, lat, lon, freshness, heading, fix_time_ms: car.fix_time_ms, fix: { lat: car.lat, lon: car.lon } };
  },
  get view() {
    const { lat, lng: lon } = map.getCenter();
    return { lat, lon, zoom: map.getZoom() };
  },
});
