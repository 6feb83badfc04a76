// The link a viewer opened, `/share#<token>`: read once, taken out of the address bar, kept for this tab's reloads.

import { TokenNeeded } from "./tokens.js";

const KEY = "ridestream.share-token";
/** What a tab keeps of a link that has ended, so that a reload still says so. */
const OVER = "over";
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The trip that a token says it is for. Nobody has checked it: it is only what to ask the server about. */
function tripOf(token) {
  try {
    const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const claim = JSON.parse(new TextDecoder().decode(bytes)).trip_id;
    return typeof claim === "string" && claim ? claim : null;
  } catch {
    return null;
  }
}

/** Gives the connection its token, as tokens.js does on the map; a share token is never renewed. */
export class ShareLink {
  #token;
  renewable = false;
  renewAt = Infinity;

  /** Reads the address bar. The fragment never leaves the browser, and the history shall not keep it either. */
  constructor() {
    const given = location.hash.slice(1);
    if (given) {
      sessionStorage.setItem(KEY, given);
      history.replaceState(null, "", location.pathname);
    }
    const token = given || sessionStorage.getItem(KEY) || "";
    this.over = token === OVER;
    this.#token = SHAPE.test(token) ? token : null;
    this.tripId = this.#token && tripOf(this.#token);
    // Another link opened in this tab changes the fragment only, and loads nothing: begin anew with it.
    addEventListener("hashchange", () => location.hash.length > 1 && location.reload());
  }

  async get() {
    if (!this.#token) throw new TokenNeeded("This link is not complete");
    return this.#token;
  }

  async renew() {
    return null;
  }

  discard() {
    this.#token = null;
    sessionStorage.setItem(KEY, OVER);
  }
}
