// What the simulator says it is doing (docs/wire/stage.md), asked for once a second while there is one.

const ASK_EVERY_MS = 1_000;
/** Without an answer for this long nobody vouches for requests and trips any more. */
const SILENT_AFTER_MS = 4_000;
/** Where none answers a scenario may begin at any time. */
const LOOK_AGAIN_MS = 5_000;

/** Dispatches "scene" at each answer, and "gone" when there is none any more. */
export class Stage extends EventTarget {
  #url; #heardAt = -Infinity;
  scene = null;

  constructor(url) {
    super();
    this.#url = `${url}/v1/stage`;
    this.#ask();
  }

  async #ask() {
    const askedAt = performance.now();
    try {
      const response = await fetch(this.#url, {
        cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(SILENT_AFTER_MS),
      });
      if (!response.ok) throw new Error(`stage: HTTP ${response.status}`);
      this.scene = await response.json();
      this.#heardAt = performance.now();
      this.dispatchEvent(new Event("scene"));
    } catch {
      if (this.scene && performance.now() - this.#heardAt > SILENT_AFTER_MS) {
        this.scene = null;
        this.dispatchEvent(new Event("gone"));
      }
    }
    const every = performance.now() - this.#heardAt > SILENT_AFTER_MS ? LOOK_AGAIN_MS : ASK_EVERY_MS;
    setTimeout(() => this.#ask(), Math.max(0, askedAt + every - performance.now()));
  }
}
