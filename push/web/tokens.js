// A rider token for the socket: a guest's, fetched and renewed, or one the visitor pastes (kept for this tab only).

const KEY = "ridestream.rider-token";
const RENEW_BEFORE_MS = 30_000;
/** A renewal that failed is tried again after this; the server closes with 4005 when none came in time. */
const RETRY_RENEWAL_MS = 5_000;

/** No token can be had without the visitor; the message says why. */
export class TokenNeeded extends Error {}

export class Tokens {
  #guests;
  #token = null;
  #expiresAt = Infinity;

  constructor(guests) {
    this.#guests = guests;
    if (!guests) this.#token = sessionStorage.getItem(KEY);
  }

  /** Milliseconds of performance.now() at which the socket should move to a fresh token; Infinity: unknown. */
  get renewAt() {
    return this.#expiresAt - RENEW_BEFORE_MS;
  }

  get renewable() {
    return this.#guests;
  }

  paste(token) {
    this.#guests = false;
    this.#token = token;
    this.#expiresAt = Infinity;
    sessionStorage.setItem(KEY, token);
  }

  /** A fresh token for the same guest. Resolves to null when there is nothing to renew. */
  async renew() {
    if (!this.#guests || !this.#token) return null;
    const authorization = `Bearer ${this.#token}`;
    this.#expiresAt = performance.now() + RETRY_RENEWAL_MS + RENEW_BEFORE_MS;
    return this.#fetch({ authorization });
  }

  discard() {
    this.#token = null;
    if (!this.#guests) sessionStorage.removeItem(KEY);
  }

  /** Resolves to a token. Rejects with TokenNeeded, or with a network error worth a retry. */
  async get() {
    if (this.#token && performance.now() < this.renewAt) return this.#token;
    if (!this.#guests) throw new TokenNeeded("Paste a rider token to connect. It stays in this tab.");
    return this.#fetch({});
  }

  async #fetch(headers) {
    const response = await fetch("/v1/guest-tokens", { method: "POST", headers });
    if (response.status === 403 || response.status === 404) {
      const problem = await response.json().catch(() => ({}));
      this.#guests = false;
      throw new TokenNeeded(`No guest token: ${problem.detail ?? response.statusText}.`);
    }
    if (!response.ok) throw new Error(`guest token: HTTP ${response.status}`);
    const body = await response.json();
    this.#token = body.token;
    this.#expiresAt = performance.now() + body.expires_in_s * 1000;
    return this.#token;
  }
}
