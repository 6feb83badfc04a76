// How a vehicle looks from above, by type and freshness: drawn once per look, then only stamped and turned.

/** Fleet Engine's categories, in the order of the legend. Shape and colour both tell the type. */
export const TYPES = {
  TAXI: { name: "Taxi", color: "#ffc24b" },
  AUTO: { name: "Car", color: "#5cc8ff" },
  TRUCK: { name: "Truck", color: "#ff8f6b" },
  TWO_WHEELER: { name: "Two-wheeler", color: "#8ce08a" },
  BICYCLE: { name: "Bicycle", color: "#c9a6ff" },
  PEDESTRIAN: { name: "On foot", color: "#ff9fc8" },
  "": { name: "Unknown type", color: "#b8c7d6" },
};
const STALE = "#93a1ae";
const HOLLOW = "#122130";
const INK = "#0a141d";
/** Rings and discs around cars that work for somebody (jobs.js): the shape tells it without the colour. */
export const RING = "#ff7ac0";
export const DISC = "#57d9a3";
/** Half the side of a sprite, in CSS pixels at scale 1. */
export const HALF = 16;

export const typeOf = (type) => TYPES[type] ?? TYPES[""];

/** Directions that a crowd's cars are drawn in beforehand: 5 degrees apart. */
export const TURNS = 72;
/** A glyph smaller than this has no glow: it would be all that is seen of a crowd. */
const GLOW_FROM = 0.6;
const SPRITES_KEPT = 4_000;

const sprites = new Map();

/** A canvas with the vehicle pointing north, `look` "live", "hollow" or "grey" (both: it may not be there any more);
 *  `directed` is false where the heading is not known; `job` is "", "pickup" or "trip"; `turn` (of TURNS) is how far it
 *  is turned already. */
export function sprite(type, look, directed, scale, job = "", turn = 0) {
  const key = `${type}|${look}|${directed}|${scale}|${job}|${turn}`;
  let canvas = sprites.get(key);
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.ceil(2 * HALF * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.translate(HALF, HALF);
    if (turn) context.rotate((2 * Math.PI * turn) / TURNS);
    if (job) drawJob(context, job, look);
    draw(context, type in TYPES ? type : "", look, directed, scale >= GLOW_FROM);
    if (sprites.size > SPRITES_KEPT) sprites.clear();
    sprites.set(key, canvas);
  }
  return canvas;
}

function drawJob(context, job, look) {
  const grey = look !== "live";
  context.beginPath();
  context.arc(0, 0, 12.4, 0, 7);
  if (job === "trip") {
    context.fillStyle = grey ? "rgb(147 161 174 / 0.35)" : DISC;
    context.fill();
  } else {
    context.fillStyle = "rgb(10 20 29 / 0.75)";
    context.fill();
    context.lineWidth = 2.8;
    context.strokeStyle = grey ? STALE : RING;
    context.stroke();
  }
}

function draw(context, type, look, directed, glows) {
  const color = look === "grey" ? STALE : TYPES[type].color;
  const body = new Path2D();
  const details = [];
  if (!directed) body.arc(0, 0, 5.5, 0, 7);
  else if (type === "TAXI" || type === "AUTO") {
    body.roundRect(-4.5, -8.5, 9, 17, 3.6);
    details.push(trapezoid(-3.3, -4.6, 6.6, 3.2, 0.9), trapezoid(-3, 6.4, 6, -2.2, 0.6));
    if (type === "TAXI") details.push(box(-2.2, -0.4, 4.4, 1.9));
  } else if (type === "TRUCK") {
    body.roundRect(-4.6, -10.5, 9.2, 5.6, 2);
    body.roundRect(-5, -4.2, 10, 14.7, 1.4);
    details.push(box(-3.2, -9, 6.4, 1.8));
  } else if (type === "TWO_WHEELER") {
    body.roundRect(-2.3, -8, 4.6, 16, 2.3);
    body.roundRect(-5, -4.6, 10, 2.2, 1.1);
    details.push(box(-1.2, 0.4, 2.4, 4.4));
  } else if (type === "BICYCLE") {
    body.roundRect(-1.3, -8.5, 2.6, 7, 1.3);
    body.roundRect(-1.3, 1.5, 2.6, 7, 1.3);
    body.roundRect(-4.4, -3.2, 8.8, 1.9, 0.9);
    body.arc(0, 0.6, 2.5, 0, 7);
  } else if (type === "PEDESTRIAN") {
    body.arc(0, 1, 4.2, 0, 7);
    body.moveTo(0, -7.5);
    body.lineTo(3, -3.2);
    body.lineTo(-3, -3.2);
    body.closePath();
  } else {
    body.moveTo(0, -8.5);
    body.lineTo(6, 7);
    body.lineTo(0, 3.8);
    body.lineTo(-6, 7);
    body.closePath();
  }
  context.lineJoin = "round";
  if (look === "hollow") {
    // Hollow, grey and dashed: no colour, so that nobody takes it for a car that is there now.
    context.setLineDash([2.6, 1.7]);
    context.strokeStyle = STALE;
    context.lineWidth = 2.8;
    context.stroke(body);
    context.fillStyle = HOLLOW;
    context.fill(body);
    return;
  }
  if (glows) {
    const { a, b } = context.getTransform();
    context.shadowColor = color;
    context.shadowBlur = 7 * Math.hypot(a, b);
  }
  context.strokeStyle = INK;
  context.lineWidth = 2.4;
  context.stroke(body);
  context.fillStyle = color;
  context.fill(body);
  context.shadowBlur = 0;
  context.fillStyle = INK;
  context.globalAlpha = 0.72;
  for (const detail of details) context.fill(detail);
}

function box(x, y, width, height) {
  const path = new Path2D();
  path.roundRect(x, y, width, height, 0.6);
  return path;
}

/** A window: `inset` narrower at its far side; a negative height opens the other way. */
function trapezoid(x, y, width, height, inset) {
  const path = new Path2D();
  path.moveTo(x, y);
  path.lineTo(x + width, y);
  path.lineTo(x + width - inset, y + height);
  path.lineTo(x + inset, y + height);
  path.closePath();
  return path;
}
