// The car of the trip: alive with a green pulse, or grey in a dashed ring with its age beside it, or a question mark.

import { HALF, sprite } from "./glyphs.js";
import { Overlay } from "./overlay.js";
import { ago } from "./share-words.js";

const PULSE_MS = 2_200;
const LIVE = "87 217 163";
const GREY = "#a9b6c1";
const INK = "#0c1a27";
const FONT = '600 12.5px -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';

/** Leaflet layer. `scene` gives fleet, car() (of the fleet, or null), freshness() and ageMs(). */
export const CarLayer = Overlay.extend({
  pane: "car",
  level: 460,

  initialize(scene) {
    this._scene = scene;
    this.drawn = null;
  },

  paint(context, { scale, min, ratio, zoom }, now) {
    const { fleet, car: carOf, freshness: freshnessOf, ageMs } = this._scene;
    const car = carOf();
    this.drawn = null;
    if (!car) return;
    const freshness = freshnessOf();
    const [wx, wy] = fleet.drawnAt(car, now);
    const x = wx * scale - min.x;
    const y = wy * scale - min.y;
    const size = Math.max(1.25, Math.min(2, 1.55 + (zoom - 14) * 0.15));
    const heading = freshness === "lost" ? null : fleet.headingAt(car, now);
    this.drawn = { car, x, y, freshness, heading };
    context.save();
    context.translate(x, y);
    if (freshness === "live") this._pulse(context, size, now);
    else this._ring(context, size, freshness);
    if (freshness === "lost") this._question(context, size);
    else this._vehicle(context, car, freshness, heading, size, ratio);
    if (freshness !== "live") this._label(context, size, `${ago(ageMs())} ago`);
    context.restore();
  },

  _vehicle(context, car, freshness, heading, size, ratio) {
    const step = Math.round(size * ratio * 8) / 8;
    const half = HALF * (step / ratio);
    const image = sprite(car.type, freshness === "live" ? "live" : "grey", heading !== null, step);
    context.save();
    if (heading !== null) context.rotate((heading * Math.PI) / 180);
    context.drawImage(image, -half, -half, 2 * half, 2 * half);
    context.restore();
  },

  /** Two rings that run outwards; one that rests, for those who asked for less motion. */
  _pulse(context, size, now) {
    const inner = 14 * size;
    context.fillStyle = `rgb(${LIVE} / 0.16)`;
    context.strokeStyle = `rgb(${LIVE} / 0.75)`;
    context.lineWidth = 1.5;
    circle(context, inner);
    context.fill();
    context.stroke();
    if (this._scene.fleet.still) return;
    for (const lag of [0, 0.5]) {
      const part = (now / PULSE_MS + lag) % 1;
      context.strokeStyle = `rgb(${LIVE} / ${0.65 * (1 - part) ** 1.5})`;
      context.lineWidth = 2;
      circle(context, inner + 22 * part);
      context.stroke();
    }
  },

  _ring(context, size, freshness) {
    context.fillStyle = "rgb(12 26 39 / 0.55)";
    context.strokeStyle = GREY;
    context.globalAlpha = freshness === "lost" ? 0.75 : 1;
    context.lineWidth = 2;
    context.setLineDash([6, 5]);
    circle(context, 16 * size);
    context.fill();
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  },

  /** Where it was lost: no direction, hardly a car. */
  _question(context, size) {
    context.globalAlpha = 0.55;
    context.fillStyle = "#33475a";
    circle(context, 9.5 * size);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = "#d5dee6";
    context.font = `700 ${13 * size}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("?", 0, 0.6 * size);
  },

  _label(context, size, text) {
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const width = context.measureText(text).width + 18;
    const top = 16 * size + 7;
    context.beginPath();
    context.roundRect(-width / 2, top, width, 22, 11);
    context.fillStyle = GREY;
    context.fill();
    context.fillStyle = INK;
    context.fillText(text, 0, top + 11.5);
  },
});

function circle(context, radius) {
  context.beginPath();
  context.arc(0, 0, radius, 0, 7);
}
