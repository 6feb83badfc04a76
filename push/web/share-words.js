// A trip in words: what it does now, what was, what is still to come, and how old the picture is.

import * as words from "./words.js";

const BEFORE_BOARDING = ["NEW", "ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP"];

const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exactTime = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export const boarded = ({ state }) => !BEFORE_BOARDING.includes(state);
export const at = (ms) => clockTime.format(ms);
export const atExactly = (ms) => exactTime.format(ms);

/** Whole seconds: it is read while it counts. */
export function ago(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
}

/** [number, unit] of a time to go. Rounded up: nobody is told that a car is nearer than it is. */
export function toGo(ms) {
  const minutes = Math.ceil(ms / 60_000);
  if (minutes <= 1) return ["1", "min"];
  if (minutes < 60) return [String(minutes), "min"];
  return [`${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`, "h"];
}

const waypointOf = (place) => (place?.startsWith("waypoint:") ? Number(place.slice(9)) : null);

/** "the pickup", "stop 2", "the destination"; with its name where the viewer may know it. */
export function placeOf(place, trip) {
  const index = waypointOf(place);
  const [plain, stop] =
    place === "pickup" ? ["the pickup", trip?.pickup]
    : place === "dropoff" ? ["the destination", trip?.dropoff]
    : index !== null ? [`stop ${index + 1}`, trip?.waypoints?.[index]] : ["", null];
  return stop?.name ? `${plain}, ${stop.name}` : plain;
}

/** What goes on, in a few words. */
export function headline({ state, next_waypoint: next = 0 }) {
  return {
    NEW: "Driver assigned",
    ENROUTE_TO_PICKUP: "Driver on the way",
    ARRIVED_AT_PICKUP: "Waiting at the pickup",
    ENROUTE_TO_INTERMEDIATE_DESTINATION: "On board",
    ARRIVED_AT_INTERMEDIATE_DESTINATION: `At stop ${next + 1}`,
    ENROUTE_TO_DROPOFF: "On board",
    COMPLETE: "Arrived",
    CANCELED: "Canceled",
  }[state] ?? "On the way";
}

/** "1.2 km to the pickup", "" where nobody knows. */
export function remaining(progress, trip) {
  if (progress?.remaining_m == null || !progress.leg) return "";
  return `${words.distance(progress.remaining_m)} to ${placeOf(progress.leg, trip)}`;
}

/** What happened: [{id, text, at_ms, minor}], oldest first. Approaches and zones are for machines. */
export function happened(events, trip) {
  const rows = [];
  let stops = 0;
  for (const { event_id: id, type, state, place, at_ms } of events) {
    if (type === "trip.reassigned") stops = 0;
    if (type === "trip.state_changed" && state === "ARRIVED_AT_INTERMEDIATE_DESTINATION") stops++;
    const text =
      type === "trip.created" ? "Driver assigned"
      : type === "trip.reassigned" ? "Another driver took over"
      : type === "trip.arrived" ? `Car reached ${placeOf(place, trip) || "a stop"}`
      : type === "trip.state_changed" ? stepOf(state, stops, rows) : null;
    if (text) rows.push({ id, text, at_ms, state: type === "trip.arrived" ? null : state, minor: type === "trip.arrived" });
  }
  return rows;
}

function stepOf(state, stops, rows) {
  const driving = state === "ENROUTE_TO_DROPOFF" || state === "ENROUTE_TO_INTERMEDIATE_DESTINATION";
  if (driving && !stops && !rows.some(({ text }) => text === "On board")) return "On board";
  return {
    ENROUTE_TO_PICKUP: "Driver on the way",
    ARRIVED_AT_PICKUP: "At the pickup",
    ENROUTE_TO_INTERMEDIATE_DESTINATION: `On to stop ${stops + 1}`,
    ARRIVED_AT_INTERMEDIATE_DESTINATION: `At stop ${stops}`,
    ENROUTE_TO_DROPOFF: "On to the destination",
    COMPLETE: "Arrived",
    CANCELED: "Canceled",
  }[state];
}

/** What is still to come, as texts. */
export function toCome({ state, waypoints = [], next_waypoint: next = 0 }) {
  const before = BEFORE_BOARDING.indexOf(state);
  const steps = before < 0 ? [] : ["Driver on the way", "At the pickup", "On board"].slice(before);
  const standing = state === "ARRIVED_AT_INTERMEDIATE_DESTINATION" ? 1 : 0;
  const stops = waypoints.map((_, index) => `At stop ${index + 1}`).slice(next + standing);
  return [...steps, ...stops, "Arrived"];
}
