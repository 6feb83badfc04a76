// A rider's phone in a corner: the page of a shared trip in a frame, and another trip's when that one has ended.

/** The frame says itself that a trip has ended; that stays long enough to be read. */
const ENDED_STAYS_MS = 3_500;
/** Where there is room for one; city.css says the same. */
export const room = matchMedia("(min-width: 761px) and (min-height: 621px)");
const $ = (id) => document.getElementById(id);

export class Phone {
  #shown = null; #endedAt = null;

  /** The trip on the phone: {trip_id, driver_id}, or null. */
  get trip() {
    return this.#shown && { trip_id: this.#shown.trip_id, driver_id: this.#shown.driver_id };
  }

  /** `trips` as the stage says. The one on the phone stays until it has ended. */
  show(trips, now) {
    if (!room.matches) {
      this.hide();
      return;
    }
    if (this.#shown) {
      const same = trips.find(({ trip_id: id }) => id === this.#shown.trip_id);
      if (same) {
        this.#shown = same;
        this.#endedAt = null;
        return;
      }
      this.#endedAt ??= now;
      if (now - this.#endedAt < ENDED_STAYS_MS) return;
    }
    // One that has just begun is to be seen from its beginning.
    const shared = trips.filter(({ share_url: url }) => url);
    this.#open(shared.find(({ state }) => state === "ENROUTE_TO_PICKUP") ?? shared[0] ?? null);
  }

  hide() {
    this.#open(null);
  }

  #open(trip) {
    this.#endedAt = null;
    if (!trip && !this.#shown) return;
    this.#shown = trip;
    $("phone").hidden = !trip;
    // A frame that is new has no history, so that the browser's Back still leaves the page.
    $("phone-screen").replaceChildren();
    if (!trip) return;
    const frame = document.createElement("iframe");
    frame.title = "A rider's phone: a shared trip";
    frame.tabIndex = -1;
    // Whatever address the simulator knows push by: it is this page's own server that shows the trip.
    frame.src = `/share${new URL(trip.share_url).hash}`;
    $("phone-screen").append(frame);
    $("phone-text").textContent = trip.driver_id;
  }
}
