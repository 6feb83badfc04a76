"""The live map in Chromium, served by the real push from a real Redis: what a visitor sees, does and is told."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import h3
import pytest

from infra.identity import mint
from tests.browser.city import City
from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def overlap(page: Any, one: str, other: str) -> bool:
    a, b = page.locator(one).bounding_box(), page.locator(other).bounding_box()
    return bool(
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )


def test_cars_appear_and_glide_towards_their_newest_fix_and_never_past_it(visit: Visit) -> None:
    visitor = visit().until_live()
    seen: list[tuple[int, float]] = []  # fix time, metres from where the car is drawn to that fix

    def moved() -> bool:
        taxi = visitor.cars()["taxi"]
        drawn, fix = (taxi["lat"], taxi["lon"]), (taxi["fix"]["lat"], taxi["fix"]["lon"])
        seen.append((taxi["fix_time_ms"], h3.great_circle_distance(drawn, fix, unit="m")))
        # Drawn between the fixes too, however seldom a busy machine lets us look.
        return len(set(seen)) > max(15, len({fix for fix, _ in seen}))

    visitor.until(moved, "a car that glides")
    for (fix, metres), (next_fix, next_metres) in pairwise(seen):
        assert fix <= next_fix
        if fix == next_fix:
            assert next_metres <= metres + 0.01, "it comes nearer to its fix, and never drives on beyond it"
    visitor.until(lambda: visitor.colour("taxi") > 0.5, "colour")
    assert visitor.complaints == []


def test_the_panel_counts_the_cars_and_lists_the_nearest_with_their_age(visit: Visit) -> None:
    visitor = visit().until_live()
    visitor.until(lambda: visitor.text("#count") == "31", "31 cars counted")
    visitor.until(lambda: "31 live" in visitor.text("#split"), "31 live cars")
    assert visitor.page.locator("#nearest li:visible").count() == 5
    assert "ago" in visitor.text("#nearest li:first-child")
    visitor.until(lambda: visitor.text("#delay").endswith("ms"), "a delay")
    visitor.until(lambda: (visitor.ask("figures.rate") or 0) > 5, "a rate")


def test_the_card_of_a_chosen_car_says_who_it_is_and_its_age_ticks(visit: Visit) -> None:
    visitor = visit().until_live()
    visitor.page.click("#nearest li:first-child button")
    ages: set[str] = set()

    def ticking() -> bool:
        ages.add(visitor.text("#card-age"))
        return len(ages) > 2

    visitor.until(ticking, "an age that ticks")
    visitor.until(lambda: visitor.text("#card-freshness") == "live", "a live car")
    assert visitor.text("#card-speed").endswith("km/h")
    visitor.page.keyboard.press("Escape")
    visitor.until(lambda: visitor.page.locator("#card").is_hidden(), "a closed card")


def test_clicking_a_place_stands_there_on_the_same_subscription(visit: Visit) -> None:
    visitor = visit().until_live()
    before = visitor.ask("rider")

    def stands_there() -> bool:
        if visitor.ask("rider") == before:
            visitor.page.mouse.click(820, 560)  # where a car is just passing the click is its own
        return any(each["type"] == "recenter" for each in visitor.sent)

    visitor.until(stands_there, "a recenter")
    after = visitor.ask("rider")
    assert after["lat"] < before["lat"]
    assert after["lon"] > before["lon"]
    subscribed = [each for each in visitor.sent if each["type"] == "subscribe"]
    moved = [each for each in visitor.sent if each["type"] == "recenter"]
    assert len(subscribed) == 1
    assert moved[-1]["sub"] == subscribed[0]["sub"]
    assert moved[-1]["lat"] == pytest.approx(after["lat"])
    visitor.until(lambda: visitor.text("#count") in map(str, range(31)), "other cars")


def test_the_radius_slider_asks_for_fewer_cars_and_stays_within_the_servers_limit(visit: Visit) -> None:
    visitor = visit().until_live()
    assert visitor.page.get_attribute("#radius", "max") == "5000"
    visitor.page.locator("#radius").fill("500")
    visitor.until(lambda: visitor.text("#count") in map(str, range(1, 10)), "fewer cars")
    assert visitor.text("#radius-text") == "500 m"


def test_cars_beyond_the_circle_come_with_a_second_subscription(visit: Visit) -> None:
    visitor = visit().until_live()
    assert not any(each.startswith("far") for each in visitor.cars())
    visitor.page.click("text=Cars beyond your circle")
    visitor.page.keyboard.press("Tab")
    visitor.page.evaluate("document.querySelector('.leaflet-control-zoom-out').click()")
    visitor.until(lambda: any(each.startswith("far") for each in visitor.cars()), "a car beyond the circle")
    assert visitor.text("#count") == "31"
    visitor.page.click("text=Cars beyond your circle")
    visitor.until(lambda: not any(each.startswith("far") for each in visitor.cars()), "only the circle's cars")


def test_the_cars_go_on_moving_after_impatient_zooming(visit: Visit) -> None:
    visitor = visit().until_live()
    for button in ("in", "out"):
        clicks = f"for (let i = 0; i < 5; i++) document.querySelector('.leaflet-control-zoom-{button}').click()"
        visitor.page.evaluate(clicks)
        visitor.until(lambda: visitor.page.locator(".leaflet-zoom-anim").count() == 0, "the end of the animation")
        visitor.until_moving()


def test_a_silent_car_turns_hollow_and_grey_and_is_called_stale(visit: Visit, town: City) -> None:
    visitor = visit().until_live()
    quiet = "near-1"
    visitor.until(lambda: visitor.colour(quiet) > 0.4, "colour")
    town.silence(quiet)
    try:
        visitor.until(lambda: visitor.cars()[quiet]["stale"], "stale")
        visitor.until(lambda: visitor.colour(quiet) < 0.35, "grey")
        at = visitor.cars()[quiet]
        visitor.until(lambda: "1 stale" in visitor.text("#split"), "counted as stale")

        def chosen() -> bool:
            if visitor.page.locator("#card").is_hidden() or visitor.text("#card-id") != quiet:
                visitor.page.mouse.click(at["x"], at["y"])  # a car that is just passing may take the click
            return visitor.text("#card-id") == quiet and visitor.text("#card-freshness") == "stale"

        visitor.until(chosen, "a card that says stale")
        later = visitor.cars()[quiet]
        assert (later["lat"], later["lon"]) == (at["lat"], at["lon"])
    finally:
        town.silence(quiet, silent=False)
    visitor.until(lambda: visitor.colour(quiet) > 0.4, "colour again")


def test_a_killed_server_shows_reconnecting_greys_all_cars_and_recovers(visit: Visit, town: City) -> None:
    visitor = visit().until_live()
    town.push.kill()
    visitor.until(lambda: "Reconnecting" in visitor.text("#state"), "reconnecting")
    visitor.until(lambda: all(car["stale"] for car in visitor.cars().values()), "no live-looking car")
    visitor.until(lambda: visitor.colour("taxi") < 0.35, "grey cars")
    town.push.start()
    town.push.wait_ready()
    visitor.until_live()
    visitor.until(lambda: not any(car["stale"] for car in visitor.cars().values()), "live cars")
    assert visitor.page.locator("#notice").is_hidden()


def test_a_draining_server_is_left_and_found_again(visit: Visit, town: City) -> None:
    visitor = visit().until_live()
    town.push.terminate()
    visitor.until(lambda: visitor.ask("state.name") != "live", "leaving")
    town.push.wait(60)
    town.push.start()
    town.push.wait_ready()
    visitor.until_live()


def test_a_server_with_another_key_gets_a_new_guest_token(visit: Visit, town: City) -> None:
    visitor = visit().until_live()
    town.push.kill()
    town.push = town.push.__class__(
        town.push.kind, {**town.push.env, "RIDESTREAM_JWT_KEY": "k" * 40}, town.push.log.parent
    )
    town.push.start()
    town.push.wait_ready()
    visitor.until(lambda: visitor.sockets > 1 and visitor.ask("state.name") == "live", "live again")


def until_newer(visitor: Visitor, driver_id: str) -> None:
    """Two fixes of a car from now on, one after the other."""
    seen: set[int] = set()

    def newer() -> bool:
        seen.add(visitor.cars()[driver_id]["fix_time_ms"])
        return len(seen) > 1

    visitor.until(newer, "moving on")


def test_a_lost_update_is_noticed_and_the_page_subscribes_again(visit: Visit, town: City) -> None:
    visitor = visit(url="about:blank")
    dropped: list[str] = []

    def lossy(socket: Any) -> None:
        server = socket.connect_to_server()

        def forward(message: str) -> None:
            if '"seq":5,' in message and not dropped:
                dropped.append(message)
            else:
                socket.send(message)

        server.on_message(forward)

    visitor.page.route_web_socket("**/v1/stream", lossy)
    visitor.open(town.push.health_url).until_live()
    visitor.until(lambda: visitor.ask("figures.gaps") == 1, "a gap")
    until_newer(visitor, "taxi")
    assert visitor.ask("figures.gaps") == 1


def test_a_token_is_renewed_on_the_open_connection(visit: Visit, town: City) -> None:
    visitor = visit(url="about:blank")

    def short_lived(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "expires_in_s": 31})

    visitor.page.route("**/v1/guest-tokens", short_lived)
    visitor.open(town.push.health_url).until_live()
    visitor.until(lambda: any(each["type"] == "auth" for each in visitor.sent), "a fresh token")
    until_newer(visitor, "taxi")
    assert visitor.sockets == 1
    assert visitor.ask("state.name") == "live"


def test_without_guests_a_pasted_token_opens_the_map_and_a_bad_one_is_explained(visit: Visit, town: City) -> None:
    with town.another_push("push-no-guests", RIDESTREAM_GUEST_RIDERS="false") as push:
        push.wait_ready()
        visitor = visit(url=push.health_url)
        visitor.until(lambda: visitor.page.locator("#token-form").is_visible(), "a form")
        for key, outcome in (("k" * 40, "token refused"), (push.env["RIDESTREAM_JWT_KEY"], "")):
            visitor.page.fill("#token", mint(key, "HS256", "rider", "r-1", "rider", time.time(), 600))
            visitor.page.press("#token", "Enter")
            if outcome:
                visitor.until(lambda outcome=outcome: outcome in visitor.text("#notice-text"), outcome)
        visitor.until_live()
        assert visitor.page.evaluate("localStorage.length") == 0
        assert visitor.page.context.cookies() == []


def test_h3_cells_are_drawn_on_demand(visit: Visit) -> None:
    visitor = visit().until_live()
    assert not any("/v1/cells" in url for url in visitor.urls)
    visitor.page.click("text=H3 cells")
    visitor.until(lambda: visitor.ask("figures.cells") > 200, "cells")
    place = next(url for url in visitor.urls if "/v1/cells" in url)
    assert "lat=40.755&lon=-73.984" in place, "the server is told the place to ~100 m only"
    visitor.page.click("text=H3 cells")
    visitor.until(lambda: visitor.ask("figures.cells") == 0, "no cells")
    assert visitor.complaints == []


@pytest.mark.parametrize("size", [(1440, 900), (1000, 700), (390, 844)])
def test_the_attribution_is_visible_and_nothing_covers_it(visit: Visit, size: tuple[int, int]) -> None:
    visitor = visit(*size).until_live()
    credit = visitor.page.locator("text=© OpenStreetMap contributors")
    credit.wait_for(state="visible")
    assert not overlap(visitor.page, ".leaflet-control-attribution", ".panel")
    box = credit.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert visitor.page.evaluate(
        f"document.elementFromPoint({x}, {y}).closest('.leaflet-control-attribution') !== null"
    )


def test_no_request_leaves_the_origin_no_url_holds_a_token_and_nothing_complains(visit: Visit) -> None:
    visitor = visit().until_live()
    visitor.page.click("text=H3 cells")
    visitor.until(lambda: visitor.ask("figures.cells") > 0, "cells")
    assert visitor.hosts == {"127.0.0.1"}
    assert not any("eyJ" in url for url in visitor.urls)
    assert visitor.complaints == []


def test_the_map_is_used_with_keys_alone(visit: Visit) -> None:
    visitor = visit().until_live()
    before = visitor.ask("rider")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.id") == "map"
    for _ in range(3):
        visitor.page.keyboard.press("ArrowDown")

    def stands_south() -> bool:
        visitor.page.keyboard.press("Enter")  # at the map's centre, also while it still glides there
        return bool(visitor.ask("rider.lat") < before["lat"] - 0.001)

    visitor.until(stands_south, "standing elsewhere")


def test_who_asked_for_less_motion_sees_cars_at_their_fixes_only(visit: Visit) -> None:
    visitor: Visitor = visit(reduced_motion="reduce").until_live()
    for _ in range(5):
        visitor.page.wait_for_timeout(200)
        for car in visitor.cars().values():
            assert car["lat"] == pytest.approx(car["fix"]["lat"], abs=1e-9)
            assert car["lon"] == pytest.approx(car["fix"]["lon"], abs=1e-9)
