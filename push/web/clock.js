// What time it is for a fix, estimated from the server's messages: it may run faster than the wall, or hold.

const WINDOW_MS = 15_000;
const MIN_SPAN_MS = 3_000;
/** One sample, the least delayed, is kept of each stretch this long: enough to tell a rate, cheap at 50 messages/s. */
const STRETCH_MS = 250;
/** Nearer to 1 than this is 1: nobody replays at 1.05 times. */
const UNEVEN = 0.1;

const lead = ({ serverMs, localMs }) => serverMs - localMs;
const earliest = (best, sample) => (best && lead(best) >= lead(sample) ? best : sample);

/** Messages come late, never early: the earliest of each half of the window are compared. */
function rateOf(samples, span) {
  const last = samples[samples.length - 1];
  const middle = last.localMs - span / 2;
  const a = samples.filter(({ localMs }) => localMs <= middle).reduce(earliest, null);
  const b = samples.filter(({ localMs }) => localMs > middle).reduce(earliest, null);
  if (Math.abs(lead(b) - lead(a)) < UNEVEN * span) return 1;
  return Math.max(0, (last.serverMs - samples[0].serverMs) / span);
}

export class EventClock {
  #samples = [];
  #stretchStart = -Infinity;
  rate = 1;
  /** Where the estimate is hung up: event time `serverMs` was at local time `localMs`. */
  #anchor = null;

  /** `serverMs`: event time in a message; `localMs`: performance.now() when it arrived. */
  observe(serverMs, localMs) {
    const samples = this.#samples;
    const sample = { serverMs, localMs };
    if (localMs - this.#stretchStart < STRETCH_MS) samples.push(earliest(samples.pop(), sample));
    else {
      this.#stretchStart = localMs;
      samples.push(sample);
    }
    while (samples.length > 2 && samples[0].localMs < localMs - WINDOW_MS) samples.shift();
    const span = samples[samples.length - 1].localMs - samples[0].localMs;
    if (span >= MIN_SPAN_MS) this.rate = rateOf(samples, span);
    this.#anchor = this.rate === 1 ? samples.reduce(earliest, null) : sample;
  }

  /** After a reconnection the server may be another one, with another clock. */
  reset() {
    this.#samples = [];
    this.#stretchStart = -Infinity;
    this.#anchor = null;
    this.rate = 1;
  }

  /** The device slept for `ms`, which performance.now() did not count. */
  skip(ms) {
    for (const sample of new Set([...this.#samples, this.#anchor])) if (sample) sample.localMs -= ms;
  }

  get known() {
    return this.#anchor !== null;
  }

  /** Event time at local time `localMs`. The least delayed message of the window tells the offset best. */
  now(localMs) {
    if (!this.#anchor) return Date.now();
    return this.#anchor.serverMs + (localMs - this.#anchor.localMs) * this.rate;
  }
}
