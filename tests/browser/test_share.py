"""A share link in Chromium, served by the real push from a real Redis: what its viewer sees, and what nobody sees."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import h3
import jwt
import pytest

from tests.browser.conftest import Open
from tests.browser.ride import LOST_AFTER_MS, STALE_AFTER_MS, Street
from tests.browser.viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
ENDED = "This trip has ended"


def assert_no_place_is_left(viewer: Viewer, config_center: tuple[float, float] = (40.7549, -73.9840)) -> None:
    assert viewer.text("#over-title") == ENDED
    assert viewer.car is None
    assert viewer.ask("lines") == []
    assert viewer.page.locator(".stop").count() == 0
    assert viewer.page.locator(".leaflet-car-pane, .leaflet-route-pane, .leaflet-stops-pane").count() == 0
    assert viewer.page.locator(".panel").is_hidden()
    view = viewer.ask("view")
    assert (view["lat"], view["lon"]) == pytest.approx(config_center, abs=0.001)
    words = viewer.page.evaluate("document.documentElement.textContent")
    for gone in ("Elm Street", "Mary", "Pickup", "Destination", "Driver on the way", "km"):
        assert gone not in words
    assert viewer.page.evaluate("Object.values(sessionStorage).join()") == "over"


def test_a_viewer_sees_the_car_move_and_never_ahead_of_its_newest_fix(street: Street, view: Open) -> None:
    viewer = view(street.ride()).until_live()
    seen: list[tuple[int, float]] = []  # fix time, metres from where the car is drawn to that fix

    def moved() -> bool:
        car = viewer.car
        assert car is not None
        drawn, fix = (car["lat"], car["lon"]), (car["fix"]["lat"], car["fix"]["lon"])
        seen.append((car["fix_time_ms"], h3.great_circle_distance(drawn, fix, unit="m")))
        # Drawn between the fixes too, however seldom a busy machine lets us look.
        return len(set(seen)) > max(15, len({fix for fix, _ in seen}))

    viewer.until(moved, "a car that glides")
    for (fix, metres), (next_fix, next_metres) in pairwise(seen):
        assert fix <= next_fix
        if fix == next_fix:
            assert next_metres <= metres + 0.01, "it comes nearer to its fix, and never drives on beyond it"
    viewer.until(lambda: viewer.green() > 0.5, "colour")
    assert viewer.complaints == []


def test_the_sheet_says_what_goes_on_how_long_and_how_far(street: Street, view: Open) -> None:
    viewer = view(street.ride(stands=True)).until_live()
    viewer.until(lambda: viewer.text("#big").split() == ["2", "min", "away"], "an ETA")
    assert viewer.text("#headline") == "Driver on the way"
    assert "km to the pickup" in viewer.text("#rest")
    assert viewer.text("#side").startswith("at ")
    viewer.until(lambda: len(viewer.timeline) == 2, "a timeline")
    assert viewer.timeline == ["Driver assigned", "Driver on the way"]
    assert viewer.page.locator("#timeline .next").all_inner_texts() == ["At the pickup", "On board", "Arrived"]
    assert viewer.page.locator(".stop").all_inner_texts() == ["Pickup", "Destination"]


def test_the_way_ahead_begins_at_the_car_and_ends_at_the_next_stop(street: Street, view: Open) -> None:
    ride = street.ride()
    viewer = view(ride).until_live()

    def ahead() -> list[list[float]]:
        return next((line["points"] for line in viewer.ask("lines") or [] if line["style"] == "now"), [])

    def left_m() -> float:
        way = ahead()
        return float(h3.great_circle_distance(way[0], way[-1], unit="m"))

    viewer.until(ahead, "a way ahead")
    before = left_m()
    viewer.until(lambda: left_m() < before - 20, "less of it")
    # In one moment, because the car drives on.
    car, lines = viewer.page.evaluate("[window.ridestream.car, window.ridestream.lines]")
    (way,) = (line["points"] for line in lines if line["style"] == "now")
    assert h3.great_circle_distance((car["lat"], car["lon"]), way[0], unit="m") < 40
    assert h3.great_circle_distance((ride.trip.pickup.lat, ride.trip.pickup.lon), way[-1], unit="m") < 2


def test_a_silent_driver_is_last_seen_then_lost_and_never_looks_live(street: Street, view: Open) -> None:
    ride = street.ride()
    viewer = view(ride).until_live()
    ride.silent = True
    looks: list[dict[str, Any]] = []

    def lost() -> bool:
        looks.append(viewer.look())
        return bool(looks[-1]["pill"] == "Car lost")

    viewer.until(lost, "a lost car")
    order = {"live": 0, "stale": 1, "lost": 2}
    silent = [look for look in looks if look["fix_time_ms"] == looks[-1]["fix_time_ms"] and look["age_ms"] > 1_000]
    assert {look["drawn"] for look in silent} == {"live", "stale", "lost"}
    for one, other in pairwise(silent):
        assert one["age_ms"] < other["age_ms"]
        assert order[one["drawn"]] <= order[other["drawn"]]
    for look in looks:
        # The sheet is written five times a second, the car 60 times, if the machine lets them: a look may fall between.
        if look["age_ms"] - look["late_ms"] > STALE_AFTER_MS + 300:
            assert look["drawn"] != "live"
            assert look["theme"] != "live"
            assert "away" not in look["big"]
        if STALE_AFTER_MS + 300 + look["late_ms"] < look["age_ms"] < LOST_AFTER_MS:
            assert look["big"].startswith("Last seen ")
    assert looks[-1]["big"].startswith("We have lost the car since ")
    assert looks[-1]["heading"] is None, "nobody knows where it heads"
    viewer.until(lambda: viewer.green() < 0.35, "grey")
    ride.silent = False
    viewer.until_live()
    viewer.until(lambda: viewer.green() > 0.5, "colour again")


def test_a_trip_without_a_position_waits_for_the_first(street: Street, view: Open) -> None:
    ride = street.ride("NEW")
    ride.silent = True
    viewer = view(ride)
    viewer.until(lambda: viewer.text("#big") == "Waiting for the first position", "waiting")
    assert viewer.freshness == "none"
    assert viewer.car is None
    ride.silent = False
    viewer.until_live()


def test_a_killed_push_comes_back_and_the_timeline_has_each_state_once(street: Street, view: Open) -> None:
    ride = street.ride()
    viewer = view(ride).until_live()
    street.push.kill()
    viewer.until(lambda: viewer.text("#state") == "Reconnecting", "reconnecting")
    viewer.until(lambda: (viewer.car or {}).get("freshness") == "stale", "a grey car")
    street.advance(ride, "ARRIVED_AT_PICKUP", "ENROUTE_TO_DROPOFF")
    street.push.start()
    street.push.wait_ready()
    viewer.until_live()
    viewer.until(lambda: len(viewer.timeline) >= 4, "the whole timeline")
    assert viewer.timeline == ["Driver assigned", "Driver on the way", "At the pickup", "On board"]
    subscribed = [each for each in viewer.sent if each["type"] == "subscribe"]
    assert "recover" not in subscribed[0]
    assert subscribed[-1]["recover"]["offset"] == 2
    viewer.until(lambda: viewer.ask("trip.offset") == 4, "all four events")


def test_once_the_rider_is_on_board_the_pickup_is_gone(street: Street, view: Open) -> None:
    ride = street.ride()
    viewer = view(ride).until_live()
    street.advance(ride, "ARRIVED_AT_PICKUP")
    viewer.until(lambda: viewer.text("#headline") == "Waiting at the pickup", "the pickup")
    street.advance(ride, "ENROUTE_TO_DROPOFF")
    viewer.until(lambda: viewer.text("#headline") == "On board", "on board")
    viewer.until(lambda: viewer.page.locator(".stop").all_inner_texts() == ["Destination"], "no pickup any more")
    viewer.until(lambda: "to the destination" in viewer.text("#rest"), "the last leg")


@pytest.mark.parametrize("state", ["COMPLETE", "CANCELED"])
def test_after_the_end_no_place_is_left_on_the_page(street: Street, view: Open, state: str) -> None:
    ride = street.ride()
    viewer = view(ride).until_live()
    street.advance(ride, "ARRIVED_AT_PICKUP", "ENROUTE_TO_DROPOFF", state)
    assert_no_place_is_left(viewer.until_over())
    sockets = viewer.sockets
    viewer.page.reload()
    assert_no_place_is_left(viewer.until_over())
    assert viewer.sockets == sockets, "nobody asks again"


def test_a_revoked_link_ends_the_page(street: Street, view: Open) -> None:
    ride = street.ride()
    share = street.share(ride)
    viewer = view(ride, share).until_live()
    street.revoke(ride, share)
    assert_no_place_is_left(viewer.until_over())
    assert viewer.complaints == []
    assert_no_place_is_left(view(ride, share).until_over())


def test_a_link_that_expires_or_was_never_good_ends_the_page(street: Street, view: Open) -> None:
    ride = street.ride()
    forged = jwt.encode({"trip_id": ride.trip.trip_id, "aud": "share", "exp": time.time() + 60}, "k" * 40)
    assert_no_place_is_left(view(ride, street.share(ride)._replace(token=forged)).until_over())
    assert_no_place_is_left(view(ride, street.share(ride, lifetime_s=3)).until_over())


@pytest.mark.parametrize("fragment", ["", "#", "#half-a.token", "#a.b.c"])
def test_half_a_link_asks_for_the_whole_one(street: Street, view: Open, fragment: str) -> None:
    viewer = view(url=f"{street.push.health_url}/share{fragment}").until_over()
    assert viewer.text("#over-title") == "This link is not complete"
    assert viewer.sockets == 0


def test_the_token_is_in_no_address_and_survives_a_reload_of_this_tab_only(street: Street, view: Open) -> None:
    ride = street.ride()
    share = street.share(ride)
    viewer = view(ride, share).until_live()
    assert viewer.page.url == f"{street.push.health_url}/share"
    assert not any(share.token in url for url in viewer.urls)
    assert viewer.page.evaluate("localStorage.length") == 0
    assert viewer.page.context.cookies() == []
    assert share.token not in viewer.page.content()
    viewer.page.reload()
    viewer.until_live()
    other = Viewer(viewer.page.context.new_page()).open(f"{street.push.health_url}/share")
    assert isinstance(other, Viewer)
    assert other.until_over().text("#over-title") == "This link is not complete"
    assert viewer.hosts == {"127.0.0.1"}
    assert viewer.complaints == []


def test_another_link_opened_in_the_same_tab_shows_the_other_trip(street: Street, view: Open) -> None:
    one, other = street.ride(), street.ride()
    viewer = view(one).until_live()
    street.advance(other, "ARRIVED_AT_PICKUP")
    viewer.page.evaluate("url => { location.href = url }", street.link(street.share(other)))
    viewer.until(lambda: viewer.text("#headline") == "Waiting at the pickup", "the other trip")


def test_a_network_that_swallows_everything_never_leaves_a_live_looking_car(street: Street, view: Open) -> None:
    viewer = view(url="about:blank")
    swallowing = False

    def lossy(socket: Any) -> None:
        server, dead = socket.connect_to_server(), []

        def forward(message: str) -> None:
            dead.extend([True] if swallowing else [])  # a stream that lost something is never whole again
            if not dead:
                socket.send(message)

        server.on_message(forward)

    viewer.page.route_web_socket("**/v1/stream", lossy)
    viewer.open(street.link(street.share(street.ride())))
    viewer.until_live()
    swallowing = True

    def grey() -> bool:
        look = viewer.look()
        assert look["drawn"] != "live" or look["age_ms"] - look["late_ms"] < STALE_AFTER_MS + 300
        return bool(look["drawn"] == "lost" and look["pill"] == "Reconnecting")

    viewer.until(grey, "a lost car without a connection")
    swallowing = False
    viewer.until_live()


def test_a_phone_that_slept_does_not_show_the_position_from_before_as_live(street: Street, view: Open) -> None:
    viewer = view(url="about:blank")
    viewer.page.add_init_script("let slept = 0; const now = Date.now; Date.now = () => now() + slept;"
                                "window.sleep = (ms) => { slept += ms; };")  # fmt: skip
    viewer.open(street.link(street.share(street.ride())))
    viewer.until_live()
    street.push.kill()
    try:
        # Awake again before anything else is noticed: the next look at the time must do.
        viewer.page.evaluate("window.sleep(600000); document.dispatchEvent(new Event('visibilitychange'))")
        look = viewer.look()
        assert look["drawn"] == "lost" or look["age_ms"] > 600_000
        viewer.until(lambda: viewer.look()["drawn"] == "lost", "a lost car")
        assert "We have lost the car since" in viewer.text("#big")
    finally:
        street.push.start()
        street.push.wait_ready()
    viewer.until_live()


def test_who_asked_for_less_motion_sees_the_car_at_its_fixes_only(street: Street, view: Open) -> None:
    viewer = view(street.ride(), reduced_motion="reduce").until_live()
    for _ in range(5):
        viewer.page.wait_for_timeout(200)
        car = viewer.car
        assert car is not None
        assert (car["lat"], car["lon"]) == pytest.approx((car["fix"]["lat"], car["fix"]["lon"]), abs=1e-9)


def test_by_keys_alone_the_map_is_moved_and_the_car_found_again(street: Street, view: Open) -> None:
    viewer = view(street.ride(), reduced_motion="reduce").until_live()
    viewer.page.keyboard.press("Tab")
    assert viewer.page.evaluate("document.activeElement.id") == "map"
    for _ in range(12):
        viewer.page.keyboard.press("ArrowLeft")
    viewer.until(lambda: viewer.page.locator("#follow").is_visible(), "a way back")
    away = viewer.ask("view")["lon"]
    viewer.page.locator("#follow").focus()
    viewer.page.keyboard.press("Enter")
    viewer.until(lambda: viewer.ask("view")["lon"] > away + 0.001, "the car again")
    viewer.until(lambda: viewer.page.locator("#follow").is_hidden(), "no way back needed")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_credits_are_visible_the_car_is_in_sight_and_nothing_overflows(
    street: Street, view: Open, size: tuple[int, int]
) -> None:
    viewer = view(street.ride(), width=size[0], height=size[1]).until_live()
    viewer.until(lambda: viewer.page.evaluate("!document.querySelector('.leaflet-zoom-anim')"), "a map at rest")
    shown = viewer.page.locator("text=© OpenStreetMap contributors")
    shown.wait_for(state="visible")
    credit = shown.bounding_box()
    assert credit is not None
    x, y = credit["x"] + credit["width"] / 2, credit["y"] + credit["height"] / 2
    at = f"document.elementFromPoint({x}, {y}).closest('.leaflet-control-attribution') !== null"
    assert viewer.page.evaluate(at)
    panel = viewer.page.locator(".panel").bounding_box()
    assert panel is not None

    def in_sight() -> bool:
        car = viewer.car or {"x": -1, "y": -1}
        beside = car["x"] > panel["x"] + panel["width"] or car["y"] < panel["y"]
        return bool(0 < car["x"] < size[0] and 0 < car["y"] < size[1] and beside)

    viewer.until(in_sight, "the car in sight")
    assert viewer.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
