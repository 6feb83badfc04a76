// What a viewer knows of one trip, by the server's messages, and how fresh that is. No DOM, no socket.

const ENDED = new Set(["COMPLETE", "CANCELED"]);
const WORSE = ["live", "stale", "lost"];

export class Trip {
  trip = null;
  /** The newest fix of the trip's car; null before the first one, between two drivers, and after the end. */
  car = null;
  progress = null;
  /** Why there is nothing to see any more; null while the trip goes on. */
  ended = null;
  /** Where to resume: the epoch and the offset of the last event that arrived. */
  epoch = null;
  offset = 0;
  #said = "none";
  #events = new Map();

  /** Events in the order of the log, each once, however often it came. */
  get events() {
    return [...this.#events.values()].sort((a, b) => a.offset - b.offset);
  }

  /** What to send after a welcome. After a broken connection: go on after the last event that is known. */
  subscription(sub, tripId) {
    const recover = this.epoch === null ? {} : { recover: { epoch: this.epoch, offset: this.offset } };
    return { type: "subscribe", channel: "trip", sub, trip_id: tripId, ...recover };
  }

  hear(message) {
    if (this.ended !== null) return;
    if (message.type === "trip_snapshot") {
      if (message.mode !== "replay" && this.epoch !== message.epoch) this.#events.clear();
      this.#log(message);
      this.#become(message.trip);
      this.#said = message.freshness;
      this.#drive(message.car ?? null, message.progress ?? null);
    } else if (message.type === "trip_events") {
      this.#log(message);
      if (message.trip) this.#become(message.trip);
    } else if (message.type === "trip_position" && this.trip) {
      this.#said = message.car.freshness;
      this.#drive(message.car, message.progress ?? null);
    } else if (message.type === "trip_freshness") {
      this.#said = message.freshness;
      if (message.freshness === "none") this.#drive(null, null);
    } else if (message.type === "trip_ended") {
      this.end(message.reason ?? "");
    }
  }

  /** It is over: forget every place and every name. */
  end(reason) {
    this.trip = this.car = this.progress = null;
    this.#events.clear();
    this.#said = "none";
    this.ended = reason;
  }

  /**
   * `none`, `live`, `stale` or `lost` at event time `eventMs`: the worse of what the server said and what the age of
   * the fix says by now, so that a silent server cannot keep a position young. Without a connection
   * (`vouched` false) nobody says that a position is live, so it is not.
   */
  freshness(eventMs, { staleAfterMs, lostAfterMs }, vouched) {
    if (!this.car) return "none";
    const age = eventMs - this.car.fix_time_ms;
    const byAge = age >= lostAfterMs ? 2 : age >= staleAfterMs ? 1 : 0;
    return WORSE[Math.max(byAge, WORSE.indexOf(this.#said), vouched ? 0 : 1)];
  }

  #log({ epoch, offset, events }) {
    for (const event of events) this.#events.set(event.event_id, event);
    this.epoch = epoch;
    this.offset = offset;
  }

  #become(trip) {
    // Of a trip that has ended the server says no more than that.
    if (ENDED.has(trip.state)) return this.end("over");
    // The server cuts off what lies behind the car, and says nothing of a way on which it has not found the car yet:
    // then the one that is known still holds for what is ahead.
    const same = this.trip?.assignment === trip.assignment;
    this.trip = trip.route || !same ? trip : { ...trip, route: this.trip.route };
    // A car of a driver who no longer has the trip says nothing about it.
    if (this.car && this.car.driver_id !== trip.driver_id) this.#drive(null, null);
  }

  #drive(car, progress) {
    if (this.ended !== null) return;
    const sameDriver = car && this.car && car.driver_id === this.car.driver_id;
    if (sameDriver && car.fix_time_ms < this.car.fix_time_ms) return;
    this.car = car;
    this.progress = progress;
  }
}
