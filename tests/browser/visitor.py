"""Somebody with the live map open: what the page knows, what was sent, what went wrong, and the pixels."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Error, Page

from tests.pipeline.polling import until

#: A page of Chromium on a machine that does much else; what is waited for takes a second or two on an idle one.
WITHIN_S = 60.0


class Visitor:
    """Wraps a page. Everything the page does from the start on is noted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(1_000 * WITHIN_S)
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.urls: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.sockets = 0
        page.on("console", self._note_complaint)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note_url(request.url))
        page.on("websocket", self._note_socket)

    def _note_complaint(self, message: ConsoleMessage) -> None:
        # The page reads no pixels: Chromium says this of a test that looks at them again and again.
        if message.type in ("error", "warning") and "willReadFrequently" not in message.text:
            self.complaints.append(message.text)

    def _note_url(self, url: str) -> None:
        self.urls.append(url)
        self.hosts.add(urlsplit(url).hostname or "")

    def _note_socket(self, socket: Any) -> None:
        self.sockets += 1
        self._note_url(socket.url)
        socket.on("framesent", lambda payload: self.sent.append(json.loads(payload)))

    def open(self, url: str) -> Visitor:
        self.page.goto(url)
        return self

    def ask(self, expression: str) -> Any:
        """A property of `window.ridestream`, or None while the page is not that far, also where a part is missing."""
        return self.page.evaluate(f"window.ridestream?.{expression.replace('.', '?.')} ?? null")

    def until(self, condition: Any, what: str) -> None:
        """Poll, letting the page's events in; fails with what the page knows. A page that is just leaving, or an
        element that is just replaced, answers at the next look."""

        def ask() -> bool:
            self.page.wait_for_timeout(1)
            try:
                return bool(condition())
            except Error as error:
                raise LookupError(str(error)) from error

        until(ask, WITHIN_S, lambda: f"{what}; state {self.ask('state')}, {len(self.cars())} cars, {self.complaints}")

    def until_live(self) -> Visitor:
        self.until(lambda: (self.ask("state") or {}).get("name") == "live" and len(self.cars()) >= 31, "live with cars")
        return self

    def until_moving(self) -> None:
        """Until every car that is drawn is drawn somewhere else than now."""
        before = {(car["x"], car["y"]) for car in self.cars().values()}
        self.until(lambda: not before & {(car["x"], car["y"]) for car in self.cars().values()}, "motion")

    def cars(self) -> dict[str, dict[str, Any]]:
        return {car["driver_id"]: car for car in self.ask("cars") or []}

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def colour(self, driver_id: str) -> float:
        """How colourful the canvas is where a car is drawn, now: 0 is grey, 1 a pure colour. One frame, no race."""
        found = self.page.evaluate(
            """(id) => {
              const car = window.ridestream.cars.find((each) => each.driver_id === id);
              const canvas = document.querySelector(".leaflet-cars-pane canvas");
              const ratio = canvas.width / canvas.clientWidth;
              const side = Math.round(14 * ratio);
              const [left, top] = [car.x * ratio - side / 2, car.y * ratio - side / 2].map(Math.round);
              const { data } = canvas.getContext("2d").getImageData(left, top, side, side);
              let most = 0;
              for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] < 200) continue;
                const high = Math.max(data[i], data[i + 1], data[i + 2]);
                const low = Math.min(data[i], data[i + 1], data[i + 2]);
                if (high > 110) most = Math.max(most, (high - low) / high);
              }
              return most;
            }""",
            driver_id,
        )
        return float(found)
