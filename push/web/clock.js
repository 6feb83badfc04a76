// What time it is for a fix, estimated from the server's messages: it may run faster than the wall, or hold.

const WINDOW_MS = 15_000;
const MIN_SPAN_MS = 3_000;
/** Nearer to 1 than this is 1: late messages bend the slope that much, and nobody replays at 1.05 times. */
const UNEVEN = 0.1;

export class EventClock {
  #samples = [];
  #rate = 1;

  /** `serverMs`: event time in a message; `localMs`: performance.now() when it arrived. */
  observe(serverMs, localMs) {
    const samples = this.#samples;
    samples.push({ serverMs, localMs });
    while (samples.length > 2 && samples[0].localMs < localMs - WINDOW_MS) samples.shift();
    const span = localMs - samples[0].localMs;
    if (span < MIN_SPAN_MS) return;
    const rate = (serverMs - samples[0].serverMs) / span;
    this.#rate = Math.abs(rate - 1) < UNEVEN ? 1 : Math.max(0, rate);
  }

  /** After a reconnection the server may be another one, with another clock. */
  reset() {
    this.#samples = [];
    this.#rate = 1;
  }

  get rate() {
    return this.#rate;
  }

  get known() {
    return this.#samples.length > 0;
  }

  /** Event time at local time `localMs`. The least delayed message of the window tells the offset best. */
  now(localMs) {
    const samples = this.#samples;
    if (!samples.length) return Date.now();
    if (this.#rate !== 1) {
      const last = samples[samples.length - 1];
      return last.serverMs + (localMs - last.localMs) * this.#rate;
    }
    let offset = -Infinity;
    for (const sample of samples) offset = Math.max(offset, sample.serverMs - sample.localMs);
    return localMs + offset;
  }
}
