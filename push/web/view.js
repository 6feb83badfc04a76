// The map both pages stand on: configuration, Leaflet, its controls, and the part of the screen the panel leaves free.

const ATTRIBUTION = '<a href="https://www.openstreetmap.org/copyright">© OpenStreetMap contributors</a>';

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
export const narrow = matchMedia("(max-width: 760px)");

/** /v1/map-config, asked for until it is answered. */
export async function readConfig() {
  for (let wait = 500; ; wait = Math.min(8_000, 2 * wait)) {
    const response = await fetch("/v1/map-config").catch(() => null);
    if (response?.ok) return response.json();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** The part of the screen that the panel leaves free, as Leaflet's paddings. */
export function free() {
  const sheet = document.querySelector(".panel").getBoundingClientRect();
  return narrow.matches
    ? { paddingTopLeft: [12, 12], paddingBottomRight: [12, innerHeight - sheet.top + 12] }
    : { paddingTopLeft: [sheet.right + 24, 28], paddingBottomRight: [28, 28] };
}

/** A Leaflet map in #map, with the credits; `options` are Leaflet's. */
export function createMap(options = {}) {
  const still = reducedMotion.matches;
  const map = L.map("map", {
    zoomControl: false, attributionControl: false, zoomSnap: 0.25, zoomDelta: 0.5, wheelPxPerZoomLevel: 90,
    minZoom: 10, maxZoom: 18, fadeAnimation: !still, zoomAnimation: !still, inertia: !still, ...options,
  });
  const attribution = L.control.attribution({ prefix: '<a href="https://leafletjs.com">Leaflet</a>' }).addTo(map);
  attribution.addAttribution(ATTRIBUTION);
  L.control.zoom({ position: "bottomright" }).addTo(map);
  // The zoom buttons keep the middle of what is visible, not a place under the panel.
  const zoomBy = (levels) => {
    const { paddingTopLeft: [left, top], paddingBottomRight: [right, bottom] } = free();
    const { x, y } = map.getSize();
    map.setZoomAround(L.point((left + x - right) / 2, (top + y - bottom) / 2), map.getZoom() + levels);
  };
  map.zoomIn = (levels = map.options.zoomDelta) => zoomBy(levels);
  map.zoomOut = (levels = map.options.zoomDelta) => zoomBy(-levels);
  // On a phone the panel is a sheet of changing height: the attribution stays above it.
  new ResizeObserver(([{ target }]) => {
    document.documentElement.style.setProperty("--sheet", `${target.offsetHeight}px`);
  }).observe(document.querySelector(".panel"));
  return map;
}
