// The panel of a city at work: the run in numbers, which are its legend at the same time. Writes the DOM only.

import { HALF, sprite } from "./glyphs.js";
import { RAMP } from "./heat.js";
import { JOBS, drawEnd } from "./jobs.js";
import { WAITING, drawPin } from "./waiting.js";
import * as words from "./words.js";

const ROWS = [
  { key: "free", name: "Free" },
  { key: "pickup", name: JOBS.pickup.name },
  { key: "trip", name: JOBS.trip.name },
  { key: "waiting", name: WAITING.name },
];
const NUMBER = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class CityPanel {
  #counts = {}; #parts = {}; #types = new Set();

  constructor() {
    for (const { key, name } of ROWS) {
      const item = document.createElement("li");
      const glyph = document.createElement("canvas");
      glyph.width = 4 * 2 * HALF;
      glyph.height = 2 * 2 * HALF;
      glyph.ariaHidden = "true";
      drawKey(glyph.getContext("2d"), key);
      const [label, count] = [document.createElement("span"), document.createElement("b")];
      label.textContent = name;
      count.textContent = "–";
      item.append(glyph, label, count);
      $("city-jobs").append(item);
      this.#counts[key] = count;
      if (key === "waiting") continue;
      const part = document.createElement("i");
      part.dataset.job = key;
      $("city-bar").append(part);
      this.#parts[key] = part;
    }
    for (const color of RAMP) {
      const step = document.createElement("i");
      step.style.background = color;
      $("city-ramp").append(step);
    }
  }

  /** `drawn` as the cars layer says: [{car}]. */
  render(city, drawn) {
    const { scene, trips, pixelMs } = city;
    const { counters } = scene;
    const counts = { free: 0, pickup: 0, trip: 0, waiting: scene.requests.length };
    for (const driver_id of trips.keys()) counts[city.jobOf({ driver_id })]++;
    counts.free = Math.max(0, counters.drivers - trips.size);
    write($("city-title"), scene.title);
    write($("city-drivers"), NUMBER.format(counters.drivers));
    write($("city-shown"), `${NUMBER.format(drawn.length)} of them in view`);
    for (const { key } of ROWS) write(this.#counts[key], NUMBER.format(counts[key]));
    for (const [key, part] of Object.entries(this.#parts)) part.style.flexGrow = String(counts[key]);
    write($("city-riders"), NUMBER.format(counters.riders));
    write($("city-trips"), NUMBER.format(counters.trips));
    write($("city-pings"), NUMBER.format(Math.round(counters.pings_per_s)));
    write($("city-pixel"), pixelMs ? words.delay(pixelMs.p50) : "–");
    // Of the vehicles only those that are about: a legend of what is not there explains nothing.
    for (const { car } of drawn) this.#types.add(car.type);
    for (const item of document.querySelectorAll("#legend [data-type]")) item.classList.toggle("unseen", !this.#types.has(item.dataset.type));
    $("city-pixel").title = pixelMs ? `Half of the positions; 99 of 100 within ${words.delay(pixelMs.p99)}` : "";
  }
}

/** As it looks on the map: a car, and where it leads. */
function drawKey(context, key) {
  context.scale(2, 2);
  if (key === "waiting") return drawPin(context, HALF, 1.7 * HALF, 1.25);
  const job = key === "free" ? "" : key;
  if (job) {
    context.beginPath();
    context.moveTo(HALF, HALF);
    context.lineTo(3.3 * HALF, HALF);
    context.lineCap = "round";
    context.lineWidth = job === "pickup" ? 3.2 : 3;
    context.setLineDash(job === "pickup" ? [0.1, 6] : []);
    context.strokeStyle = JOBS[job].color;
    context.stroke();
    context.setLineDash([]);
    drawEnd(context, 3.4 * HALF, HALF, job, 5);
  }
  const types = job ? ["AUTO"] : ["AUTO", "TAXI"];
  types.forEach((type, i) => {
    context.save();
    context.translate(HALF + i * 1.5 * HALF, HALF);
    context.rotate(Math.PI / 2);
    context.drawImage(sprite(type, "live", true, 2, job), -HALF, -HALF, 2 * HALF, 2 * HALF);
    context.restore();
  });
}
