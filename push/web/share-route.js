// The way still to go, cut at the car, and the stops that the viewer may see. What lies behind the car is not drawn.

import { worldOf } from "./fleet.js";
import { Overlay } from "./overlay.js";
import { Way } from "./share-way.js";

const BRIGHT = "#4db8ff";
const GREY = "#8296a8";
const CASING = "#0b1824";
const BEFORE_BOARDING = new Set(["NEW", "ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP"]);

const NOWHERE = new Way("");

/** Stops that are still to come: [{key, kind, text, name, lat, lon}], in order. */
export function stopsAhead(trip) {
  if (!trip) return [];
  const stops = [];
  if (trip.pickup && BEFORE_BOARDING.has(trip.state)) stops.push({ key: "pickup", kind: "pickup", text: "", ...trip.pickup, label: "Pickup" });
  (trip.waypoints ?? []).forEach((place, index) => {
    if (!place || index < (trip.next_waypoint ?? 0)) return;
    stops.push({ key: `waypoint:${index}`, kind: "waypoint", text: String(index + 1), ...place, label: `Stop ${index + 1}` });
  });
  if (trip.dropoff) stops.push({ key: "dropoff", kind: "dropoff", text: "", ...trip.dropoff, label: "Destination" });
  return stops;
}

/** Leaflet layer. `scene` gives fleet, trip, car(), freshness(). */
export const RouteLayer = Overlay.extend({
  pane: "route",
  level: 442,

  initialize(scene) {
    this._scene = scene;
    this._ways = new Map();
    this.ahead = [];
  },

  /** Ways are read once and remember how far the car has come on them. */
  _wayOf(name, encoded) {
    let known = this._ways.get(name);
    if (known?.encoded !== encoded) this._ways.set(name, (known = { encoded, way: new Way(encoded) }));
    return known.way;
  },

  /** Lines in world units: {points, style}, `now` the one the car is on, `later` after the next stop, `guess` where
   *  nobody gave a way. */
  _lines(now) {
    const { trip, fleet, car: carOf } = this._scene;
    if (!trip) return [];
    const car = carOf();
    const place = car && fleet.drawnAt(car, now);
    const boarded = !BEFORE_BOARDING.has(trip.state);
    const lines = [];
    const stops = stopsAhead(trip);
    const approach = this._wayOf("approach", boarded ? "" : (trip.approach ?? ""));
    const route = this._wayOf("route", trip.route ?? "");
    const onRoute = boarded || trip.state === "ARRIVED_AT_PICKUP";
    if (!onRoute) lines.push(this._leg(approach, place, stops.slice(0, 1)));
    if (onRoute) lines.push(this._leg(route, place, stops, boarded));
    else if (route.points.length) lines.push({ points: route.points, style: "later" });
    else lines.push({ points: stops.map(({ lat, lon }) => worldOf(lat, lon)), style: "guess" });
    return lines.filter(({ points }) => points.length > 1);
  },

  _leg(way, place, stops, hidden = false) {
    if (!way.points.length) {
      const points = stops.map(({ lat, lon }) => worldOf(lat, lon));
      return { points: place ? [place, ...points] : points, style: "guess" };
    }
    const ahead = place && way.ahead(...place);
    if (ahead) return { points: ahead, style: "now" };
    // Off the way the car will take another one, which nobody knows; and where the way began is nobody's business any
    // more once the rider is on board.
    return hidden ? this._leg(NOWHERE, place, stops) : { points: way.points, style: "later" };
  },

  paint(context, { scale, min }, now) {
    const freshness = this._scene.freshness();
    const live = freshness === "live";
    const lines = this._lines(now);
    this.ahead = lines;
    context.lineJoin = context.lineCap = "round";
    for (const { points, style } of lines.toReversed()) {
      context.beginPath();
      points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * scale - min.x, y * scale - min.y));
      context.globalAlpha = 1;
      context.setLineDash([]);
      if (style === "now" && freshness !== "lost") {
        context.lineWidth = 9;
        context.strokeStyle = CASING;
        context.stroke();
        context.lineWidth = 5;
        context.strokeStyle = live ? BRIGHT : GREY;
      } else {
        context.lineWidth = 3.5;
        context.strokeStyle = live ? "#7fa6c6" : GREY;
        context.globalAlpha = style === "guess" ? 0.5 : 0.7;
        context.setLineDash(style === "guess" ? [2, 10] : [1, 8]);
      }
      context.stroke();
    }
    context.globalAlpha = 1;
    context.setLineDash([]);
  },
});

/** The stops as markers: written anew only when the trip's stops changed. */
export class Stops {
  #map; #markers = []; #shown = "";

  constructor(map) {
    this.#map = map;
    map.createPane("stops").style.zIndex = 448;
    map.getPane("stops").style.pointerEvents = "none";
  }

  show(trip) {
    const stops = stopsAhead(trip);
    const shown = JSON.stringify(stops);
    if (shown === this.#shown) return;
    this.#shown = shown;
    for (const marker of this.#markers) marker.remove();
    this.#markers = stops.map((stop) => {
      const icon = L.divIcon({ className: `stop stop-${stop.kind}`, html: elementOf(stop), iconSize: [0, 0] });
      return L.marker([stop.lat, stop.lon], { icon, pane: "stops", interactive: false, keyboard: false }).addTo(this.#map);
    });
  }

  /** Captions stand on the side of their pin where there is room. */
  turn() {
    const { x: width } = this.#map.getSize();
    for (const marker of this.#markers) {
      const { x } = this.#map.latLngToContainerPoint(marker.getLatLng());
      const box = marker.getElement().firstElementChild;
      box.classList.toggle("leftwards", x + box.offsetWidth > width - 12 && x - box.offsetWidth > 0);
    }
  }

  get count() {
    return this.#markers.length;
  }
}

function elementOf({ text, name, label }) {
  const box = document.createElement("div");
  const pin = document.createElement("i");
  const caption = document.createElement("span");
  pin.textContent = text;
  caption.textContent = name || label;
  box.append(pin, caption);
  return box;
}
