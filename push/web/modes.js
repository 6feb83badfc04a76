// What the map shows where there is a stage: the city at work, or the cars near a rider. The stage and the visitor choose.

import { CityPanel } from "./city-panel.js";
import { room } from "./phone.js";
import { Stage } from "./stage.js";
import { free, reducedMotion } from "./view.js";

/** Width of the rider's phone with its margin (city.css): its place is left free also while there is none. */
const PHONE_PX = 240;
const NEAREST_ZOOM = 15;
const $ = (id) => document.getElementById(id);

function fitCity(map, { bounds }, animate) {
  const { paddingTopLeft, paddingBottomRight: [right, bottom] } = free();
  const aside = room.matches ? PHONE_PX : 0;
  map.fitBounds(bounds ?? map.getBounds(), { paddingTopLeft, paddingBottomRight: [right + aside, bottom], animate });
}

/** `near` is left and entered as the city is entered and left; `choose(null)` closes the card; `ready` is awaited first;
 *  `drawn()` as the cars layer says. */
export async function followStage(url, { map, city, near, choose, ready, drawn }) {
  await ready;
  /** What the visitor wants to see, once there is a choice. */
  let wanted = "city";
  const panel = new CityPanel();
  const stage = new Stage(url);

  const show = (mode) => {
    if ((mode === "city") === city.on) return;
    document.body.dataset.mode = mode;
    for (const each of ["city", "near"]) $(`mode-${each}`).setAttribute("aria-pressed", String(each === mode));
    if (mode === "city") {
      near.leave();
      city.enter();
      fitCity(map, city, false);
    } else {
      city.leave();
      near.enter();
    }
    choose(null);
  };

  stage.addEventListener("scene", () => {
    city.hear(stage.scene);
    $("modes").hidden = false;
    show(wanted);
    if (city.on) panel.render(city, drawn());
  });
  stage.addEventListener("gone", () => {
    show("near");
    $("modes").hidden = true;
  });
  for (const mode of ["city", "near"]) $(`mode-${mode}`).addEventListener("click", () => show((wanted = mode)));
  $("show-heat").addEventListener("change", () => (city.showHeat = $("show-heat").checked));
  $("whole-city").addEventListener("click", () => fitCity(map, city, !reducedMotion.matches));
  $("phone-find").addEventListener("click", () => {
    const place = city.whereIsThePhone();
    if (place) map.setView(place, Math.max(NEAREST_ZOOM, map.getZoom()), { animate: !reducedMotion.matches });
  });
}
