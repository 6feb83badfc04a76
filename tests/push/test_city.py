"""The map of a city at work in Chromium: the real push, a real stage, and a script that drives cars and trips."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import chromium
from tests.browser.visitor import Visitor
from tests.push.scripted_city import Demo, demo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CARS, TRIPS = 120, 16
#: Not under the panel, the phone or the credits, which are for other clicks.
ON_THE_MAP = "([x, y]) => document.elementFromPoint(x, y)?.matches('#map, #map canvas, .leaflet-pane *') ?? false"
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def town(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    # So few cars in one subscription that no circle alone can hold the city.
    with demo(tmp_path_factory.mktemp("demo"), CARS, TRIPS, RIDESTREAM_MAX_CARS="40") as running:
        yield running


@pytest.fixture
def visit(browser: Browser, town: Demo) -> Iterator[Visit]:
    contexts = []

    def open_map(width: int = 1200, height: int = 800, **options: Any) -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        visitor = Visitor(context.new_page()).open(town.push.health_url)
        visitor.until(lambda: visitor.ask("city"), "a city at work")
        return visitor

    yield open_map
    for context in contexts:
        context.close()


def stage_of(town: Demo) -> Any:
    with urllib.request.urlopen(f"{town.stage.url}/v1/stage") as answer:
        return json.load(answer)


def job_of(state: str) -> str:
    return "pickup" if state in ("ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP") else "trip"


def test_the_whole_city_is_in_view_though_no_subscription_may_hold_it(visit: Visit) -> None:
    visitor = visit()
    visitor.until(lambda: len(visitor.cars()) == CARS, "every car")

    def circles() -> int:
        subscribed = {each["sub"] for each in visitor.sent if each["type"] == "subscribe"}
        return len(subscribed - {each["sub"] for each in visitor.sent if each["type"] == "unsubscribe"})

    # What is sent is noted a little later than the page knows it.
    visitor.until(lambda: visitor.ask("city.circles") == circles(), "as many subscriptions as circles")
    assert 3 <= circles() <= 8
    assert visitor.ask("figures.gaps") == 0
    assert visitor.complaints == []
    assert visitor.hosts == {"127.0.0.1"}


def test_each_car_is_drawn_with_the_work_that_dispatch_has_for_it(visit: Visit, town: Demo) -> None:
    visitor = visit()
    visitor.until(lambda: len(town.city.trips) > 4, "trips")

    def agrees() -> bool:
        town.have_one_fetched()
        town.have_one_on_board()
        jobs = {trip["driver_id"]: job_of(trip["state"]) for trip in stage_of(town)["trips"]}
        drawn = {driver_id: car["job"] for driver_id, car in visitor.cars().items() if car["job"]}
        return drawn == jobs and len(set(jobs.values())) == 2

    visitor.until(agrees, "the same work on map and stage")
    visitor.until(lambda: (visitor.ask("city.ways") or 0) > 2, "ways of trips")


def test_the_panel_is_the_run_in_numbers(visit: Visit, town: Demo) -> None:
    visitor = visit()
    assert visitor.text("#city-title").lower() == "rush hour in manhattan"
    visitor.until(lambda: visitor.text("#city-drivers") == str(CARS), "drivers")
    rows = visitor.page.locator("#city-jobs li")
    assert [rows.nth(i).locator("span").inner_text() for i in range(4)] == [
        "Free", "On its way to a rider", "With a rider on board", "Waiting for a car",
    ]  # fmt: skip

    def adds_up() -> bool:
        free, pickup, trip = (int(rows.nth(i).locator("b").inner_text()) for i in range(3))
        return free + pickup + trip == CARS and pickup + trip > 0

    visitor.until(adds_up, "free and working cars")
    visitor.until(lambda: visitor.text("#city-pixel").endswith("s"), "ping to pixel")
    pixel_ms = visitor.ask("city.pixelMs")
    assert 0 < pixel_ms["p50"] < 20_000
    assert pixel_ms["p50"] <= pixel_ms["p99"]
    visitor.until(lambda: (visitor.ask("city.requests") or 0) > 0, "somebody who waits")


def test_supply_is_shaded_by_cells_and_can_be_switched_off(visit: Visit) -> None:
    visitor = visit()
    visitor.until(lambda: (visitor.ask("city.cells") or 0) > 20, "shaded cells")
    visitor.until(lambda: any("/v1/cells?" in url for url in visitor.urls), "their shapes")
    visitor.page.click("text=Where free cars are")
    visitor.until(lambda: visitor.page.locator(".leaflet-heat-pane canvas").count() == 0, "no heat")
    visitor.page.click("text=Where free cars are")
    visitor.until(lambda: visitor.page.locator(".leaflet-heat-pane canvas").count() == 1, "heat again")


def test_a_riders_phone_shows_a_trip_and_another_when_that_has_ended(visit: Visit, town: Demo) -> None:
    visitor = visit()
    screen = visitor.page.frame_locator("#phone-screen iframe")
    first: dict[str, str] = {}

    def named() -> bool:
        first.update(visitor.ask("city.phone") or {})
        return bool(first) and visitor.text("#phone-text") == first["driver_id"]

    visitor.until(named, "a phone with its car's name")
    visitor.until(lambda: screen.locator("#timeline li").count() > 2, "a timeline on the phone")

    def ended() -> bool:
        town.complete(first["trip_id"])
        return bool((visitor.ask("city.phone") or first)["trip_id"] != first["trip_id"])

    visitor.until(ended, "another trip")
    visitor.until(lambda: screen.locator("#timeline li").count() > 2, "its timeline")
    assert visitor.complaints == []


def test_the_phone_leaves_no_link_in_the_page_and_no_step_in_its_history(visit: Visit) -> None:
    visitor = visit()
    visitor.until(lambda: visitor.ask("city.phone"), "a phone")
    assert visitor.page.evaluate("history.length") <= 2
    told = visitor.page.evaluate("JSON.stringify([window.ridestream.city, window.ridestream.cars])")
    assert "eyJ" not in told
    assert "eyJ" not in visitor.page.url
    assert not any("eyJ" in url.partition("#")[0] for url in visitor.urls)


def test_whoever_likes_looks_around_as_a_rider_while_the_city_works_on(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("text=Cars near me")
    visitor.until(lambda: visitor.text("#count").strip("+").isdigit(), "cars near me")
    assert visitor.ask("city") is None
    assert visitor.page.locator("#phone").is_hidden()
    assert visitor.page.locator("#nearest").is_visible()
    visitor.page.click("text=The city at work")
    visitor.until(lambda: len(visitor.cars()) == CARS, "the whole city again")
    assert visitor.page.locator("#nearest").is_hidden()


def test_the_map_is_a_riders_again_when_the_stage_goes_and_the_citys_when_it_comes_back(
    visit: Visit, town: Demo
) -> None:
    visitor = visit()
    town.show_stage(False)
    try:
        visitor.until(lambda: visitor.ask("city") is None, "no city")
        assert visitor.page.locator("#modes").is_hidden()
        visitor.until(lambda: visitor.text("#count").strip("+").isdigit(), "a rider's map")
        assert all(car["job"] == "" for car in visitor.cars().values())
    finally:
        town.show_stage(True)
    visitor.until(lambda: visitor.ask("city"), "a city again")


def test_a_car_that_is_chosen_says_what_it_works_at(visit: Visit, town: Demo) -> None:
    visitor = visit(width=1400, height=900)
    visitor.until(lambda: (visitor.ask("city.ways") or 0) > 2, "trips")

    def chosen() -> bool:
        town.have_one_fetched()
        # On top of each other cars take each other's clicks, and a second click lets go of a car again.
        for car in [car for car in visitor.cars().values() if car["job"] == "pickup"]:
            if not visitor.page.evaluate(ON_THE_MAP, [car["x"], car["y"]]):
                continue
            visitor.page.mouse.click(car["x"], car["y"])
            if visitor.page.locator("#card").is_visible() and visitor.text("#card-job") == "On its way to a rider":
                return True
        return False

    visitor.until(chosen, "a card")


def test_no_name_of_a_place_lies_upon_another(visit: Visit) -> None:
    visitor = visit()

    def shown() -> list[dict[str, float]]:
        found: list[dict[str, float]] = visitor.page.evaluate(
            """() => [...document.querySelectorAll(".name span")]
                 .filter((name) => getComputedStyle(name).visibility === "visible")
                 .map((name) => name.getBoundingClientRect().toJSON())"""
        )
        return found

    def apart(one: dict[str, float], other: dict[str, float]) -> bool:
        return (
            one["right"] <= other["left"]
            or other["right"] <= one["left"]
            or one["bottom"] <= other["top"]
            or other["bottom"] <= one["top"]
        )

    visitor.until(lambda: len(shown()) > 5, "names of places")
    visitor.until(lambda: all(apart(one, other) for one, other in combinations(shown(), 2)), "names beside one another")
    few = len(shown())
    for _ in range(3):
        visitor.page.click(".leaflet-control-zoom-in")
    visitor.until(lambda: len(shown()) > few, "more names where there is more room")


def test_a_phone_has_room_for_the_map_and_no_phone_on_it(visit: Visit) -> None:
    visitor = visit(width=390, height=844)
    visitor.until(lambda: len(visitor.cars()) == CARS, "every car")
    panel = visitor.page.locator(".panel").bounding_box()
    assert panel is not None
    assert panel["y"] > 844 * 0.45
    assert visitor.page.locator("#phone").is_hidden()


def test_circles_cover_every_place_and_are_divided_where_cars_are_many(visit: Visit) -> None:
    found = visit().page.evaluate(
        """async () => {
          const { cover } = await import("/web/cover.js");
          const { distanceM, latLonOf, worldOf } = await import("/web/fleet.js");
          let seed = 7;
          const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
          const wrong = [];
          for (let round = 0; round < 40; round++) {
            const [lat, lon, tall, wide] = [120 * random() - 60, 300 * random() - 150, 0.1 * random(), 0.1 * random()];
            const places = Array.from({ length: 1 + Math.floor(600 * random()) }, () => {
              const [x, y] = worldOf(lat + tall * random() ** 2, lon + wide * random());
              return { x, y, car: random() < 0.5 };
            });
            const inside = ({ lat, lon, radius_m }, { x, y }) => distanceM(lat, lon, ...latLonOf(x, y)) <= radius_m;
            const circles = cover(places, 8, 5000, 150);
            const complete = places.every((place) => circles.some((circle) => inside(circle, place)));
            const widest = Math.max(...circles.map(({ radius_m }) => radius_m));
            const fullest = Math.max(...circles.map((c) => places.filter((p) => p.car && inside(c, p)).length));
            if (circles.length > 8 || widest > 5000) wrong.push({ round, circles });
            if (!complete || (circles.length < 8 && fullest > 155)) wrong.push({ round, circles, complete, fullest });
          }
          const one = cover([{ x: 0.3, y: 0.4, car: true }], 8, 5000, 150).length;
          return { wrong, none: cover([], 8, 5000, 150), one };
        }"""
    )
    assert found == {"wrong": [], "none": [], "one": 1}
