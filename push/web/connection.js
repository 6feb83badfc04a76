// One WebSocket that comes back: jittered backoff, a watchdog for silence, and close codes taken at their word.

import { TokenNeeded } from "./tokens.js";

const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 10_000;
const TOKEN_EXPIRED = 4005;
const BAD_TOKEN = 4500;
/** A connection that lived this long starts the backoff afresh when it breaks. */
const STEADY_MS = 5_000;
const PING_EVERY_MS = 10_000;

export class Connection extends EventTarget {
  #url; #subprotocol; #tokens;
  #socket = null; #timer = 0; #attempt = 0;
  #heardAt = 0; #silenceMs = 15_000; #welcomedAt = 0;
  #pingAt = 0; #drainMs = null; #freshTokenTried = false;
  state = { name: "connecting" };
  /** Half of the last ping's round trip, milliseconds: how long a message is on its way. */
  transitMs = 0;

  constructor(url, subprotocol, tokens) {
    super();
    this.#url = url;
    this.#subprotocol = subprotocol;
    this.#tokens = tokens;
    setInterval(() => this.#watch(), 500);
    addEventListener("online", () => this.retry());
  }

  get live() {
    return this.state.name === "live" || this.state.name === "draining";
  }

  /** Connect now, whatever was planned. Does nothing while a connection stands. */
  async retry() {
    if (this.#socket || this.state.name === "left") return;
    clearTimeout(this.#timer);
    this.#become({ name: "connecting", attempt: this.#attempt });
    let token;
    try {
      token = await this.#tokens.get();
    } catch (error) {
      if (error instanceof TokenNeeded) this.#become({ name: "token", reason: error.message });
      else this.#comeBack("the server does not answer");
      return;
    }
    if (this.#socket || this.state.name === "left") return;
    this.#open(token);
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Drop a connection that cannot be trusted any more, and connect now. */
  restart() {
    if (this.state.name === "refused" || this.state.name === "left") return;
    this.#drop();
    this.retry();
  }

  /** Go, and do not come back. */
  leave() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#become({ name: "left" });
  }

  #open(token) {
    const socket = new WebSocket(this.#url, [this.#subprotocol, `ridestream.bearer.${token}`]);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#welcomedAt = 0;
    this.#drainMs = null;
    socket.onmessage = (event) => this.#hear(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code, event.reason);
  }

  #hear(message) {
    const now = performance.now();
    this.#heardAt = now;
    if (message.type === "welcome" && this.#welcomedAt) return; // the answer to a renewed token
    if (message.type === "welcome") {
      this.#welcomedAt = this.#pingAt = now;
      this.#silenceMs = Math.max(3_000, 2.5 * message.heartbeat_ms);
      this.#freshTokenTried = false;
      this.#become({ name: "live" });
      this.send({ type: "ping", id: String(now) });
    } else if (message.type === "pong") {
      this.transitMs = (now - Number(message.id)) / 2;
    } else if (message.type === "draining") {
      this.#drainMs = message.reconnect_in_ms ?? 0;
      this.#become({ name: "draining" });
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #closed(code, reason) {
    this.#drop();
    if (this.#welcomedAt && performance.now() - this.#welcomedAt > STEADY_MS) this.#attempt = 0;
    // A server that was restarted may have another key, and a handshake it refuses shows no code: a guest
    // simply asks for a new token, once, before anyone is bothered.
    if ((code === BAD_TOKEN || code === TOKEN_EXPIRED || !this.#welcomedAt) && this.#tokens.renewable) {
      this.#tokens.discard();
      if (code === TOKEN_EXPIRED || (code === BAD_TOKEN && !this.#freshTokenTried)) {
        this.#freshTokenTried = true;
        this.#comeBack("a fresh token is needed", 0);
        return;
      }
    }
    const text = reason || (this.#welcomedAt ? "the connection broke" : "the server cannot be reached");
    if (code === TOKEN_EXPIRED || code === BAD_TOKEN) {
      this.#tokens.discard();
      this.#become({ name: "token", reason: `${text}. Paste a valid rider token.`, code });
    } else if (code >= 4500 && code <= 4999) this.#become({ name: "refused", reason: text, code });
    else this.#comeBack(text, this.#drainMs ?? undefined);
  }

  #comeBack(reason, afterMs) {
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.#attempt++);
    const delay = (afterMs ?? 0) + ceiling * (0.3 + 0.7 * Math.random()) * (afterMs === undefined ? 1 : 0.5);
    this.#become({ name: "reconnecting", reason, at: performance.now() + delay });
    this.#timer = setTimeout(() => this.retry(), delay);
  }

  #watch() {
    const now = performance.now();
    if (!this.#socket) return;
    if (now - this.#heardAt > this.#silenceMs) {
      this.#drop();
      this.#comeBack("the server fell silent");
    } else if (this.live && now - this.#pingAt > PING_EVERY_MS) {
      this.#pingAt = now;
      this.send({ type: "ping", id: String(now) });
    }
    if (this.state.name === "live" && this.#tokens.renewable && now > this.#tokens.renewAt) this.#renew();
  }

  /** Hand the server a fresh token before the old one expires, on the same connection: nothing on the map stops. */
  async #renew() {
    const socket = this.#socket;
    const token = await this.#tokens.renew().catch(() => null);
    if (token && this.#socket === socket) this.send({ type: "auth", token });
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#socket = null;
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
