// What this page watches ("near" you, and the "view"): asked for again after every reconnection and every gap.

/** Recentering follows a dragged marker or slider, well under the server's message limit. */
const RECENTER_EVERY_MS = 200;

export class Subscriptions {
  #connection; #fleet; #onEvent;
  #wanted = new Map();
  #wire = new Map();
  #serial = 0;
  gaps = 0;

  constructor(connection, fleet, onEvent) {
    this.#connection = connection;
    this.#fleet = fleet;
    this.#onEvent = onEvent;
    connection.addEventListener("message", (event) => this.#hear(event.detail));
  }

  /** Watch `place` ({lat, lon, radius_m, limit}) under `role`; an existing one is moved, not asked for anew. */
  watch(role, place) {
    const before = this.#wanted.get(role);
    const entry = before ?? { sub: null, seq: 0, timer: 0, sentAt: 0 };
    const moved = before && before.place.limit === place.limit;
    entry.place = place;
    this.#wanted.set(role, entry);
    if (!this.#connection.live) return;
    if (!moved || !entry.sub) this.#subscribe(role, entry);
    else if (!entry.timer) {
      const wait = Math.max(0, entry.sentAt + RECENTER_EVERY_MS - performance.now());
      entry.timer = setTimeout(() => this.#recenter(entry), wait);
    }
  }

  stop(role) {
    const entry = this.#wanted.get(role);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.#wanted.delete(role);
    this.#release(entry);
    this.#fleet.drop(role);
  }

  #subscribe(role, entry) {
    this.#release(entry);
    clearTimeout(entry.timer);
    entry.timer = 0;
    entry.sub = `${role}-${++this.#serial}`;
    entry.seq = 0;
    entry.sentAt = performance.now();
    this.#wire.set(entry.sub, role);
    this.#connection.send({ type: "subscribe", sub: entry.sub, ...entry.place });
  }

  #recenter(entry) {
    entry.timer = 0;
    if (!entry.sub) return;
    entry.sentAt = performance.now();
    const { lat, lon, radius_m } = entry.place;
    this.#connection.send({ type: "recenter", sub: entry.sub, lat, lon, radius_m });
  }

  #release(entry) {
    if (!entry.sub) return;
    this.#wire.delete(entry.sub);
    this.#connection.send({ type: "unsubscribe", sub: entry.sub });
    entry.sub = null;
  }

  #hear(message) {
    const now = performance.now();
    if (message.type === "welcome") {
      this.#wire.clear();
      for (const entry of this.#wanted.values()) entry.sub = null;
      this.#onEvent(message, now);
      for (const [role, entry] of this.#wanted) if (!entry.sub) this.#subscribe(role, entry);
      return;
    }
    const role = this.#wire.get(message.sub);
    const entry = role && this.#wanted.get(role);
    if (entry && message.type === "snapshot") {
      entry.seq = message.seq;
      this.#fleet.snapshot(role, message.cars, now);
    } else if (entry && message.type === "update") {
      if (message.seq !== entry.seq + 1) {
        this.gaps++;
        this.#subscribe(role, entry);
        return;
      }
      entry.seq = message.seq;
      this.#fleet.update(role, message, now);
    }
    this.#onEvent(message, now);
  }
}
