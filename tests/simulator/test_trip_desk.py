"""A dispatcher says each thing once, however often it has to repeat itself, and knows when it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Literal

import pytest
from aiohttp import web

from simulator.dispatch.rides import CANCELED, COMPLETE, ENROUTE_TO_PICKUP, NEW, Place, Ride
from simulator.dispatch.trip_answers import Done, Refused, Unreadable, read_track
from simulator.dispatch.trip_desk import TripDesk
from tests.simulator.fake_trips import FakeTrips, fake_trips, problem

SECRET = "not-for-any-log"


def a_ride(trip_id: str = "t-1", route: str = "") -> Ride:
    ends = Place(40.75, -73.99), Place(40.76, -73.98)
    return Ride(1, trip_id, "r-1", 0, "d-1", 3, 4, *ends, departs_ms=0, boarding_ms=20_000, route=route)


@pytest.fixture
async def fake() -> AsyncIterator[FakeTrips]:
    async with fake_trips() as fake:
        yield fake


@pytest.fixture
async def desk(fake: FakeTrips) -> AsyncIterator[TripDesk]:
    async with TripDesk(fake.url, fake.url, lambda: SECRET, lambda: f"push-{SECRET}", Random(1), 3.0) as desk:
        yield desk


async def test_a_trip_is_made_with_its_ways_and_taken_to_its_end(desk: TripDesk, fake: FakeTrips) -> None:
    ride = a_ride(route="_p~iF~ps|U_ulL")
    for state in (NEW, ENROUTE_TO_PICKUP, COMPLETE):
        done = await desk.say(ride, state)
        assert isinstance(done, Done)
        assert done.trip.state == state
    assert fake.states("t-1") == [NEW, ENROUTE_TO_PICKUP, COMPLETE]
    assert fake.commands[0][2]["route"] == "_p~iF~ps|U_ulL"
    assert "approach" not in fake.commands[0][2], "an unknown way is left out"


async def test_a_cancellation_goes_the_way_of_its_own(desk: TripDesk, fake: FakeTrips) -> None:
    await desk.say(a_ride(), NEW)
    assert isinstance(await desk.say(a_ride(), CANCELED), Done)
    assert fake.commands[1][0] == "/v1/trips/t-1/cancel"


@pytest.mark.parametrize("trouble", ["drop", "mute", 503, 500, 408, 429])
async def test_what_was_not_answered_is_sent_again_with_the_same_key_and_done_once(
    trouble: Literal["drop", "mute"] | int, desk: TripDesk, fake: FakeTrips
) -> None:
    def twice(_path: str, number: int) -> web.Response | Literal["drop", "mute"] | None:
        if number > 2:
            return None
        return problem(trouble) if isinstance(trouble, int) else trouble

    fake.trouble = twice
    assert isinstance(await desk.say(a_ride(), NEW), Done)
    assert len({(path, key, str(body)) for path, key, body, _ in fake.commands}) == 1
    assert len(fake.commands) == 3
    assert fake.states("t-1") == [NEW]
    assert desk.retries.total() == 2


async def test_another_wish_has_another_key(desk: TripDesk, fake: FakeTrips) -> None:
    for trip_id in ("t-1", "t-2"):
        for state in (NEW, ENROUTE_TO_PICKUP):
            await desk.say(a_ride(trip_id), state)
    assert len({key for _, key, *_ in fake.commands}) == 4


async def test_a_conflict_with_what_was_wanted_anyway_is_done(desk: TripDesk, fake: FakeTrips) -> None:
    """Redis lost the key, and with it that this was answered: the trip itself tells."""
    await desk.say(a_ride(), NEW)
    fake._answered.clear()
    done = await desk.say(a_ride(), NEW)
    assert isinstance(done, Done)
    assert done.trip.version == 1


async def test_a_conflict_with_a_trip_that_stands_elsewhere_is_a_failure(desk: TripDesk, fake: FakeTrips) -> None:
    await desk.say(a_ride(), NEW)
    await desk.say(a_ride(), COMPLETE)
    fake._answered.clear()
    refused = await desk.say(a_ride(), NEW)
    assert refused == Refused("http_409: the trip is COMPLETE")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_will_never_be_done_is_not_tried_again(status: int, desk: TripDesk, fake: FakeTrips) -> None:
    fake.trouble = lambda _path, _number: problem(status)
    assert await desk.say(a_ride(), NEW) == Refused(f"http_{status}")
    assert len(fake.commands) == 1


async def test_a_system_that_does_not_come_back_is_given_up(fake: FakeTrips) -> None:
    fake.trouble = lambda _path, _number: problem(503)
    async with TripDesk(fake.url, fake.url, lambda: SECRET, lambda: SECRET, Random(1), patience_s=0.3) as desk:
        refused = await desk.say(a_ride(), NEW)
    assert isinstance(refused, Refused)
    assert "http_503" in refused.why
    assert SECRET not in refused.why


async def test_cars_nearby_are_those_that_riders_are_shown(desk: TripDesk, fake: FakeTrips) -> None:
    fake.cars = ["d-1", "d-2"]
    nearby = await desk.nearby(Place(40.75, -73.99), 1_000.0, 2.0)
    assert nearby is not None
    assert nearby.driver_ids == frozenset({"d-1", "d-2"})


async def test_a_system_that_is_away_shows_nobody_and_raises_nothing(desk: TripDesk) -> None:
    async with TripDesk("http://127.0.0.1:9", "http://127.0.0.1:9", str, str, Random(1), 0.2) as nobody:
        assert await nobody.nearby(Place(40.75, -73.99), 1_000.0, 2.0) is None
        assert await nobody.track("t-1") is None
        assert await nobody.share("t-1") is None
        assert isinstance(await nobody.say(a_ride(), NEW), Refused)


async def test_a_trip_is_read_back_with_its_log_and_track(desk: TripDesk, fake: FakeTrips) -> None:
    await desk.say(a_ride(), NEW)
    fake.tracks["d-1"] = [(1_767_225_600_123, 40.75, -73.99), (1_767_225_601_123, 40.751, -73.99)]
    ledger, log, track = await desk.ledger("t-1"), await desk.log("t-1"), await desk.track("t-1")
    assert ledger is not None
    assert log is not None
    assert track is not None
    assert [event.event_id for event in ledger.history] == [event.event_id for event in log.events] == ["v1"]
    assert track.fixes == fake.tracks["d-1"]
    assert await desk.share("t-1") == f"{fake.url}/share#t-1"


@pytest.mark.parametrize(("geometry", "times"), [("null", "[]"), ('{"type":"Point","coordinates":[2,1]}', '["x"]')])
def test_a_track_may_be_a_point_or_nothing(geometry: str, times: str) -> None:
    times = times.replace("x", "2026-01-01T00:00:00.001Z")
    body = f'{{"geometry":{geometry},"properties":{{"driver_id":"d","coordTimes":{times}}}}}'
    assert read_track(body.encode()).fixes == ([] if geometry == "null" else [(1_767_225_600_001, 1.0, 2.0)])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"geometry":null,"properties":{"driver_id":"d","coordTimes":["2026-01-01T00:00:00Z"]}}',
        b'{"geometry":{"type":"Polygon","coordinates":[]},"properties":{"driver_id":"d","coordTimes":[]}}',
        b'{"geometry":{"type":"Point","coordinates":[1,2]},"properties":{"driver_id":"d","coordTimes":["noon"]}}',
    ],
)
def test_a_track_that_is_none_is_called_so_without_its_places(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^the track is not what docs/wire says$"):
        read_track(body)
