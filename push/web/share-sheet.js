// The sheet beside the map: what the trip does, how far, how old the picture is, and the timeline. Writes the DOM only.

import * as words from "./share-words.js";

/** A car that is seen every second or two would only make a number flicker. */
const JUST_NOW_MS = 3_000;
const PILLS = { live: "Live", stale: "Not live", lost: "Car lost", none: "Waiting" };
const $ = (id) => document.getElementById(id);

/** Touch the DOM only when a text changes: screen readers and the layout are left in peace. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Big words with small units: [["3", "number"], ["min", "unit"]]. */
function writeParts(element, parts) {
  const wanted = parts.map(([text, kind]) => `${kind}:${text}`).join("|");
  if (element.dataset.shown === wanted) return;
  element.dataset.shown = wanted;
  element.replaceChildren(
    ...parts.map(([text, kind]) => {
      const span = document.createElement("span");
      span.className = kind;
      span.textContent = text;
      return span;
    }),
  );
}

export class Sheet {
  #rows = "";
  #said = "";

  /** `view`: {trip, progress, car, freshness, ageMs, eventMs, events, connection, offline, now}. */
  render(view) {
    const { trip, freshness } = view;
    document.body.dataset.freshness = freshness;
    this.#renderConnection(view);
    write($("headline"), trip ? words.headline(trip) : "Shared trip");
    this.#renderHero(view);
    this.#renderTimeline(view);
    this.#say(view);
  }

  /** The whole page says that there is nothing to see; nothing of the trip stays in it. */
  over(title, text) {
    document.body.dataset.page = "over";
    document.body.dataset.freshness = "none";
    document.title = `${title} · ridestream`;
    for (const id of ["headline", "big", "side", "rest", "bar", "timeline", "latest", "said"]) {
      $(id).replaceChildren();
      delete $(id).dataset.shown;
    }
    document.querySelector(".panel").hidden = true;
    $("follow").hidden = true;
    write($("over-title"), title);
    write($("over-text"), text);
    $("over").hidden = false;
    $("over-title").focus({ preventScroll: true });
  }

  #renderConnection({ connection, offline, freshness, now, car }) {
    const { name, reason, at, code } = connection;
    const seconds = Math.max(0, Math.ceil(((at ?? now) - now) / 1000));
    const refused = name === "refused";
    const state = refused ? "refused" : offline ? "offline" : freshness;
    $("state").dataset.state = state;
    const connecting = name === "connecting" && !car ? "Connecting" : "Reconnecting";
    write($("state").lastElementChild, refused ? "Refused" : offline ? connecting : PILLS[freshness]);
    const why =
      refused ? `The server refuses (${code}): ${reason}.`
      : name === "reconnecting" ? `Offline, next try ${seconds ? `in ${seconds} s` : "now"}` : "";
    // A short interruption is told by the pill alone; the button does not come and go while it connects.
    if (why) write($("notice").firstElementChild, why);
    $("notice").hidden = !(why || (name === "connecting" && !$("notice").hidden));
  }

  #renderHero({ trip, progress, freshness, ageMs, eventMs, car }) {
    const left = trip ? words.remaining(progress, trip) : "";
    const eta = progress?.eta_ms ?? null;
    let big = [];
    let side = "";
    let rest = left;
    if (!trip) {
      big = [["Looking for the trip …", "text"]];
    } else if (freshness === "none") {
      big = [["Waiting for the first position", "text"]];
      rest = "The car shows up as soon as its driver's phone says where it is.";
    } else if (freshness === "lost") {
      big = [[`We have lost the car since ${words.atExactly(car.fix_time_ms)}`, "text"]];
      rest = `Last seen ${words.ago(ageMs)} ago. Where it is now, nobody knows.`;
    } else if (freshness === "stale") {
      big = [[`Last seen ${words.ago(ageMs)} ago`, "text"]];
      rest = left ? `It was ${left.replace(" to ", " from ")} then.` : "It may have moved since.";
    } else if (eta !== null) {
      const [number, unit] = words.toGo(eta - eventMs);
      big = [[number, "number"], [unit, "unit"], [words.boarded(trip) ? "to go" : "away", "unit"]];
      side = `at ${words.at(Math.max(eta, eventMs))}`;
    } else {
      big = [[trip.state === "ARRIVED_AT_PICKUP" ? "The car is here" : left || "On the way", "text"]];
      rest = big[0][0] === left ? "" : left;
    }
    writeParts($("big"), big);
    write($("side"), side);
    if (freshness === "live") rest = [rest, ageMs < JUST_NOW_MS ? "seen just now" : `seen ${words.ago(ageMs)} ago`].filter(Boolean).join(" · ");
    write($("rest"), rest);
  }

  #renderTimeline({ trip, events }) {
    if (!trip) return;
    const done = words.happened(events, trip);
    const coming = words.toCome(trip);
    const shown = JSON.stringify([done, coming]);
    if (shown === this.#rows) return;
    this.#rows = shown;
    const last = done.findLastIndex(({ minor }) => !minor);
    $("timeline").replaceChildren(
      ...done.map((row, i) => rowOf(row, row.minor ? "minor" : i === last ? "now" : "done")),
      ...coming.map((text) => rowOf({ text }, "next")),
    );
    const steps = done.filter(({ minor }) => !minor).length;
    $("bar").replaceChildren(
      ...Array.from({ length: steps + coming.length }, (_, i) => {
        const step = document.createElement("li");
        step.className = i < steps - 1 ? "done" : i === steps - 1 ? "now" : "next";
        return step;
      }),
    );
    const newest = done[last];
    write($("latest"), newest ? `${newest.text} since ${words.at(newest.at_ms)}` : "Timeline");
  }

  /** Said aloud once per change, never per second. */
  #say({ trip, freshness, offline, car }) {
    if (!trip) return;
    const state = words.headline(trip);
    const picture = offline ? "No connection; the position is not live."
      : freshness === "live" ? "The position is live."
      : freshness === "stale" ? "The position is not live any more."
      : freshness === "lost" ? `We have lost the car since ${words.atExactly(car.fix_time_ms)}.`
      : "Waiting for the first position.";
    const said = `${state}. ${picture}`;
    if (said === this.#said) return;
    this.#said = said;
    write($("said"), said);
    document.title = `${state} · ridestream`;
  }
}

function rowOf({ id, text, at_ms: ms }, kind) {
  const item = document.createElement("li");
  item.className = kind;
  if (id) item.dataset.event = id;
  if (kind === "now") item.setAttribute("aria-current", "step");
  const label = document.createElement("span");
  label.textContent = text;
  item.append(label);
  if (ms !== undefined) {
    const time = document.createElement("time");
    time.dateTime = new Date(ms).toISOString();
    time.textContent = words.at(ms);
    item.append(time);
  }
  return item;
}
