"""Somebody who opened a share link: what the page shows, what it was told, and the pixels of the car."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.browser.visitor import Visitor

#: When the page last had its turn: to paint, and to write.
TURNS = """(() => {
  let painted = performance.now(), wrote = painted;
  const paint = (now) => { painted = now; requestAnimationFrame(paint); };
  requestAnimationFrame(paint);
  setInterval(() => { wrote = performance.now(); }, 100);
  window.lateMs = () => performance.now() - Math.min(painted, wrote);
})()"""


class Viewer(Visitor):
    """A visitor of /share."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        page.add_init_script(TURNS)

    def until_live(self) -> Viewer:
        self.until(lambda: self.freshness == "live" and self.car is not None, "a live car")
        return self

    def until_over(self) -> Viewer:
        self.until(lambda: self.page.locator("#over").is_visible(), "the end")
        return self

    @property
    def freshness(self) -> str:
        return str(self.ask("trip.freshness"))

    @property
    def car(self) -> dict[str, Any] | None:
        """Where the car is drawn and how; None where there is none on the map."""
        found: dict[str, Any] | None = self.ask("car")
        return found

    @property
    def timeline(self) -> list[str]:
        """What happened, without what is still to come."""
        found: list[str] = self.page.locator("#timeline li:not(.next) > span:first-child").all_inner_texts()
        return found

    def look(self) -> dict[str, Any]:
        """All that says how old the position is, in one moment, and for how long the page has not had its turn."""
        found: dict[str, Any] = self.page.evaluate(
            """() => ({
              drawn: window.ridestream.car?.freshness ?? null, heading: window.ridestream.car?.heading ?? null,
              fix_time_ms: window.ridestream.car?.fix_time_ms ?? null, late_ms: window.lateMs(),
              age_ms: window.ridestream.trip.ageMs, big: document.getElementById("big").innerText,
              pill: document.getElementById("state").innerText, theme: document.body.dataset.freshness,
            })"""
        )
        return found

    def green(self) -> float:
        """How colourful the canvas is where the car is drawn: 0 is grey. 0 too where no car is drawn."""
        return float(
            self.page.evaluate(
                """() => {
                  const car = window.ridestream.car;
                  const canvas = document.querySelector(".leaflet-car-pane canvas");
                  if (!car || !canvas) return 0;
                  const ratio = canvas.width / canvas.clientWidth;
                  const side = Math.round(60 * ratio);
                  const [left, top] = [car.x * ratio - side / 2, car.y * ratio - side / 2].map(Math.round);
                  const { data } = canvas.getContext("2d").getImageData(left, top, side, side);
                  let most = 0;
                  for (let i = 0; i < data.length; i += 4) {
                    const high = Math.max(data[i], data[i + 1], data[i + 2]);
                    const low = Math.min(data[i], data[i + 1], data[i + 2]);
                    if (data[i + 3] > 200 && high > 110) most = Math.max(most, (high - low) / high);
                  }
                  return most;
                }"""
            )
        )
