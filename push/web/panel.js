// The panel: connection, counters, nearest cars, legend, and the card of the chosen car. Reads the scene, writes the DOM.

import { distanceM } from "./fleet.js";
import { HALF, TYPES, sprite, typeOf } from "./glyphs.js";
import { JOBS } from "./jobs.js";
import * as words from "./words.js";

const NEAREST = 5;
const $ = (id) => document.getElementById(id);

/** Touch the DOM only when a text changes: screen readers and the layout are left in peace. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Panel {
  #scene; #choose; #rows = [];

  /** `scene` as for the cars layer, and eventMs(), ageOf(car), isStale(car); `choose(car or null)`. */
  constructor(scene, choose) {
    this.#scene = scene;
    this.#choose = choose;
    for (let i = 0; i < NEAREST; i++) this.#rows.push(this.#addRow());
    for (const [type, { name }] of Object.entries(TYPES)) addLegend(name, type, false, true).dataset.type = type;
    addLegend("Heading unknown", "AUTO", false, false);
    addLegend("Stale: last seen here", "AUTO", true, true);
    $("card-close").addEventListener("click", () => choose(null));
  }

  #addRow() {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const glyph = document.createElement("canvas");
    glyph.width = glyph.height = 2 * HALF * 2;
    glyph.ariaHidden = "true";
    const [name, far, age] = ["name", "far", "age"].map((className) => {
      const span = document.createElement("span");
      span.className = className;
      return span;
    });
    button.append(glyph, name, far, age);
    item.append(button);
    $("nearest").append(item);
    const row = { item, button, glyph, name, far, age, car: null, look: "" };
    button.addEventListener("click", () => this.#choose(row.car));
    return row;
  }

  state(state, now) {
    const element = $("state");
    const { name, reason, code } = state;
    const seconds = Math.max(0, Math.ceil(((state.at ?? now) - now) / 1000));
    const label = {
      connecting: "Connecting", live: "Live", draining: "Server leaving", refused: "Refused", token: "Not connected",
      reconnecting: `Reconnecting in ${seconds} s`,
    }[name];
    element.dataset.state = name;
    write(element.lastElementChild, label);
    const notice = {
      refused: `Refused (${code}): ${reason}.`,
      token: reason,
      reconnecting: `${reason ? reason[0].toUpperCase() + reason.slice(1) : ""}. Grey cars are where they were last seen.`,
      draining: "This server is leaving; the map moves to another one.",
    }[name];
    $("notice").hidden = !notice;
    $("notice").dataset.state = name;
    write($("notice-text"), notice ?? "");
    $("retry").hidden = name !== "reconnecting" && name !== "refused";
    $("token-form").hidden = name !== "token";
    document.body.dataset.live = String(name === "live" || name === "draining");
  }

  /** `figures`: {rate, delayMs, clockRate, eventMs}. */
  render(now, figures) {
    const { fleet, rider, isStale, ageOf } = this.#scene;
    this.#renderCard(ageOf, isStale);
    if (this.#scene.city?.on) return;
    const near = [];
    let stale = 0;
    for (const car of fleet.cars.values()) {
      if (car.leftAt !== null || !fleet.holds("near", car.driver_id)) continue;
      near.push({ car, metres: distanceM(rider.lat, rider.lon, car.lat, car.lon) });
      if (isStale(car)) stale++;
    }
    near.sort((a, b) => a.metres - b.metres || (a.car.driver_id < b.car.driver_id ? -1 : 1));
    const known = fleet.roles.has("near");
    write($("count"), known ? `${near.length}${near.length >= this.#scene.limit ? "+" : ""}` : "–");
    write($("count-noun"), near.length === 1 ? "car" : "cars");
    write($("radius-text"), words.distance(rider.radius_m));
    const split = `${near.length - stale} live${stale ? `, ${stale} stale` : ""}`;
    const lost = near.length ? "None confirmed now" : "Waiting for the first cars";
    write($("split"), known && this.#scene.connected ? split : lost);
    this.#rows.forEach((row, i) => this.#renderRow(row, near[i], ageOf, isStale));
    write($("rate"), `${figures.rate} /s`);
    write($("delay"), figures.delayMs === null ? "–" : words.delay(figures.delayMs));
    const replayed = figures.clockRate !== 1;
    $("clock-figure").hidden = !replayed;
    if (replayed) {
      const at = new Date(figures.eventMs).toISOString().slice(0, 19).replace("T", " ");
      write($("clock"), `${at} UTC${figures.clockRate ? ` ×${Math.round(figures.clockRate)}` : " (held)"}`);
    }
  }

  #renderRow(row, entry, ageOf, isStale) {
    row.item.hidden = !entry;
    row.car = entry?.car ?? null;
    if (!entry) return;
    const { car, metres } = entry;
    const stale = isStale(car);
    const look = `${car.type}|${stale}|${car.heading === null}`;
    if (row.look !== look) {
      row.look = look;
      paint(row.glyph, car.type, stale, car.heading !== null);
      row.button.classList.toggle("stale", stale);
    }
    write(row.name, car.driver_id);
    write(row.far, words.distance(metres));
    write(row.age, `${words.age(ageOf(car))} ago`);
    row.button.setAttribute("aria-pressed", String(car === this.#scene.selected));
  }

  #renderCard(ageOf, isStale) {
    const car = this.#scene.selected;
    $("card").hidden = !car;
    if (!car) return;
    const { rider, connected } = this.#scene;
    const stale = isStale(car);
    const gone = car.leftAt !== null;
    write($("card-id"), car.driver_id);
    write($("card-type"), typeOf(car.type).name);
    write($("card-age"), words.age(ageOf(car)));
    write($("card-freshness"), gone ? "left your view" : stale ? (connected ? "stale" : "not confirmed") : "live");
    $("card").classList.toggle("stale", stale || gone);
    write($("card-speed"), words.speed(car.speed_mps));
    write($("card-heading"), words.heading(car.heading));
    write($("card-distance"), words.distance(distanceM(rider.lat, rider.lon, car.lat, car.lon)));
    write($("card-accuracy"), car.accuracy_m === null ? "not sent" : `± ${Math.round(car.accuracy_m)} m`);
    write($("card-cell"), car.cell);
    write($("card-job"), JOBS[this.#scene.jobOf(car)]?.name ?? "Free");
    paint($("card-glyph"), car.type, stale || gone, car.heading !== null);
  }
}

function addLegend(name, type, stale, directed) {
  const item = document.createElement("li");
  const glyph = document.createElement("canvas");
  glyph.width = glyph.height = 2 * HALF * 2;
  glyph.ariaHidden = "true";
  paint(glyph, type, stale, directed);
  const label = document.createElement("span");
  label.textContent = name;
  item.append(glyph, label);
  $("legend").append(item);
  return item;
}

function paint(canvas, type, stale, directed) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(sprite(type, stale ? "hollow" : "live", directed, 2), 0, 0, canvas.width, canvas.height);
}
