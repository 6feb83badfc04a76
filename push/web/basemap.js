// The ground: land, park, streets and names from one GeoJSON file, on Leaflet's canvas.

/** Line widths in pixels at zoom 14; they grow by half per zoom level, as a street does, but more gently. */
const ROADS = {
  minor: { color: "#2f475c", weight: 1.1 },
  medium: { color: "#38536b", weight: 1.9 },
  major: { color: "#3d5a74", weight: 2.2 },
};
const ORDER = ["land", "park", "minor", "medium", "major"];
const LAND = { fillColor: "#182c3e", fillOpacity: 1, color: "#2d475c", weight: 1.2 };
const PARK = { fillColor: "#17382d", fillOpacity: 1, weight: 0, stroke: false };

export async function addBaseMap(map, url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`base map: HTTP ${response.status}`);
  const document_ = await response.json();
  map.createPane("ground").style.zIndex = 300;
  map.createPane("names").style.zIndex = 440;
  map.getPane("names").style.pointerEvents = "none";
  const renderer = L.canvas({ pane: "ground", padding: 0.6 });
  const classOf = (feature) => feature.properties?.class ?? "minor";
  const shapes = document_.features.filter((feature) => classOf(feature) !== "label");
  shapes.sort((a, b) => ORDER.indexOf(classOf(a)) - ORDER.indexOf(classOf(b)));
  const ground = L.geoJSON(shapes, {
    renderer, pane: "ground", interactive: false, style: (feature) => styleOf(classOf(feature), map.getZoom()),
  }).addTo(map);
  map.on("zoomend", () => ground.setStyle((feature) => styleOf(classOf(feature), map.getZoom())));
  const names = document_.features.filter((feature) => classOf(feature) === "label").map((each) => addName(map, each));
  const fit = () => hideCovered(names);
  map.on("zoomend resize", fit);
  fit();
  return groundOf(shapes, ground);
}

/** For whoever covers the city: its streets as lines of [lon, lat], and its bounds, those of the land if there is any. */
function groundOf(shapes, ground) {
  const streets = shapes.filter(({ properties }) => properties?.class in ROADS || !properties?.class);
  const roads = streets.flatMap(({ geometry: { type, coordinates } }) =>
    type === "MultiLineString" ? coordinates : type === "LineString" ? [coordinates] : [],
  );
  const land = shapes.filter(({ properties }) => properties?.class === "land");
  return { roads, bounds: (land.length ? L.geoJSON(land) : ground).getBounds() };
}

function styleOf(name, zoom) {
  if (name === "land") return LAND;
  if (name === "park") return PARK;
  const { color, weight } = ROADS[name] ?? ROADS.minor;
  return { color, weight: weight * 1.42 ** (zoom - 14), opacity: 1, fill: false };
}

function addName(map, { geometry, properties }) {
  const element = document.createElement("span");
  element.textContent = properties.name;
  const icon = L.divIcon({ className: `name name-${properties.kind ?? "place"}`, html: element, iconSize: [0, 0] });
  const [lon, lat] = geometry.coordinates;
  L.marker([lat, lon], { icon, pane: "names", interactive: false, keyboard: false }).addTo(map);
  return element;
}

/** Of names that would lie upon one another, only the first in the file can be read, so only that is shown. */
function hideCovered(names) {
  const shown = [];
  const boxes = names.map((name) => name.getBoundingClientRect());
  names.forEach((name, i) => {
    const box = boxes[i];
    const covered = shown.some(
      (other) => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom,
    );
    name.style.visibility = covered ? "hidden" : "";
    if (!covered) shown.push(box);
  });
}
