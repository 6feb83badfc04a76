// Those who asked for a car and have none yet: pins that pulse, the more the longer they wait. Drawn with the cars.

import { worldOf } from "./fleet.js";

export const WAITING = { name: "Waiting for a car", color: "#ffffff" };
const PULSE_MS = 1_600;
/** After this a wait looks as urgent as it gets. */
const LONG_S = 30;

/** A pin whose point is at (x, y), with somebody's head and shoulders in it. */
export function drawPin(context, x, y, size) {
  const radius = 5.2 * size;
  const top = y - 12 * size;
  context.beginPath();
  context.arc(x, top, radius, 0.8 * Math.PI, 2.2 * Math.PI);
  context.lineTo(x, y);
  context.closePath();
  context.fillStyle = WAITING.color;
  context.fill();
  context.lineWidth = 1.2;
  context.strokeStyle = "#0b1824";
  context.stroke();
  context.fillStyle = "#b3246f";
  context.beginPath();
  context.arc(x, top - 1.5 * size, 1.7 * size, 0, 7);
  context.fill();
  context.beginPath();
  context.arc(x, top + 3.2 * size, 2.9 * size, Math.PI, 2 * Math.PI);
  context.fill();
}

/** Pins of `requests` ({lat, lon, waiting_s}); `still` for those who asked for less motion. */
export function drawWaiting(context, requests, { scale, min, size, zoom }, now, still) {
  const pin = Math.max(0.8, Math.min(1.3, 0.8 + (zoom - 12) * 0.15));
  for (const { lat, lon, waiting_s: waitingS } of requests) {
    const [wx, wy] = worldOf(lat, lon);
    const x = wx * scale - min.x;
    const y = wy * scale - min.y;
    if (x < -30 || y < -30 || x > size.x + 30 || y > size.y + 30) continue;
    const urgency = Math.min(1, waitingS / LONG_S);
    const phase = still ? 0.4 : ((now + (lon * 1e6) % PULSE_MS + PULSE_MS) % PULSE_MS) / PULSE_MS;
    context.beginPath();
    context.arc(x, y, pin * (4 + phase * (13 + 10 * urgency)), 0, 7);
    context.fillStyle = `rgb(255 122 192 / ${(0.55 * (1 - phase)).toFixed(3)})`;
    context.fill();
    drawPin(context, x, y, pin);
  }
}
