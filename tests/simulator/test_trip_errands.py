"""Trips are told to the system in the background, in order, each with a rider who watches it to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web

from simulator.counts.findings import Findings, Kind
from simulator.dispatch.rides import CANCELED, COMPLETE, ENROUTE_TO_PICKUP, NEW, STATES, Place, Ride
from simulator.dispatch.trip_desk import TripDesk
from simulator.fleet.fixes import Fix
from simulator.oracle.trips import TripOracle, TripPromises
from simulator.oracle.truth import Truth
from simulator.phones.phones import Sending
from simulator.riders.faults import HALF_OPEN, RECONNECT, SLOW, Mishap
from simulator.riders.trip_view import TripView
from simulator.staging.trip_errands import TripErrands
from tests.simulator.fake_trips import STANDS, FakeTrips, fake_trips, now_ms, problem

HERE, THERE = Place(40.755, -73.99), Place(40.76, -73.98)


class Office:
    """Errands on a fake system, with the oracle they report to."""

    def __init__(self, fake: FakeTrips, mishaps: Sequence[Mishap] = (), shared: int = 0) -> None:
        self.fake, self.findings = fake, Findings()
        self.truth = Truth(["d-0", "d-1", "d-2"])
        self.oracle = TripOracle(self.truth, self.findings, TripPromises(settle_ms=50))
        desk = TripDesk(fake.url, fake.url, lambda: "dispatch", lambda: "push", Random(1), patience_s=2.0)
        self.errands = TripErrands(
            desk,
            self.oracle,
            lambda trip_id: TripView(trip_id, self.findings),
            fake.stream_url,
            lambda rider_id: rider_id,
            Random(1),
            now_ms(),
            mishaps=lambda _: mishaps,
            shared=shared,
        )

    def ride(self, number: int = 0) -> Ride:
        return Ride(number, f"t-{number}", f"r-{number}", number, f"d-{number}", 0, 1, HERE, THERE, 0, 20_000)

    async def say(self, ride: Ride, *states: str) -> None:
        for state in states:
            assert ride.say(state)
            self.errands.say(ride)

    def view(self, trip_id: str) -> TripView:
        return self.errands.riders[trip_id].view

    async def until(self, holds: Callable[[], Any], within_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline_s, self.findings.first
            await asyncio.sleep(0.01)

    async def fix(self, driver: int, fix_time_ms: int, lat: float = 40.75, accepted: bool = True) -> None:
        """The driver's phone sends a fix, and ingest judges it."""
        fix = Fix(driver_id=f"d-{driver}", fix_time_ms=fix_time_ms, lat=lat, lon=-73.99)
        self.truth.moved(driver, fix_time_ms, lat, -73.99)
        self.truth.sent(Sending(fix_time_ms, driver, fix, True, "shown"), fix_time_ms)
        self.truth.judged(driver, fix_time_ms, None if accepted else "low_accuracy", fix_time_ms)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for at the end is over at once on a system that has nothing else to do."""
    monkeypatch.setattr("simulator.staging.trip_errands.SETTLE_S", 0.5)
    monkeypatch.setattr("simulator.riders.trip_rider.STAYS_S", 0.5)
    monkeypatch.setattr("simulator.riders.trip_rider.RECOVERS_S", 0.5)
    monkeypatch.setattr("simulator.riders.trip_rider.RECONNECT_S", 0.05)


@asynccontextmanager
async def office(mishaps: Sequence[Mishap] = (), shared: int = 0) -> AsyncIterator[Office]:
    async with fake_trips() as fake:
        office = Office(fake, mishaps, shared)
        async with office.errands:
            yield office


async def test_each_trip_is_said_in_order_and_its_rider_knows_all_of_it() -> None:
    async with office() as here:
        rides = [here.ride(number) for number in range(3)]
        for ride in rides:
            await here.say(ride, *STATES)
        await here.errands.finish(60)
        for ride in rides:
            assert here.fake.states(ride.trip_id) == list(STATES)
        assert here.findings.counts.total() == 0, here.findings.first
        assert (here.oracle.judged, here.oracle.events) == (3, 15)
        assert (here.errands.failed, here.errands.lost, here.errands.open) == (0, 0, 0)


async def test_a_slow_system_is_told_everything_all_the_same() -> None:
    async with office() as here:
        here.fake.trouble = lambda _path, number: problem(503) if number % 2 else None
        ride = here.ride()
        await here.say(ride, *STATES)
        await here.errands.finish(60)
        assert here.fake.states("t-0") == list(STATES)
        assert here.findings.counts.total() == 0, here.findings.first


async def test_a_trip_that_is_refused_fails_and_nothing_more_is_said_of_it() -> None:
    def no_driving(path: str, _number: int) -> web.Response | None:
        return problem(403) if path.endswith("/events") else None

    async with office() as here:
        here.fake.trouble = no_driving
        ride = here.ride()
        await here.say(ride, NEW, ENROUTE_TO_PICKUP)
        await here.until(lambda: here.errands.failed)
        await here.say(ride, CANCELED)
        assert here.fake.states("t-0") == [NEW]
        finding = here.findings.first[Kind.TRIP_FAILED]
        assert (finding.who, finding.driver_id, finding.evidence["why"]) == ("t-0", "d-0", "http_403")


async def test_a_trip_that_is_not_over_when_the_run_ends_has_failed() -> None:
    async with office() as here:
        await here.say(here.ride(), NEW, ENROUTE_TO_PICKUP)
        await here.until(lambda: here.errands.connected)
        await here.errands.finish(0.2)
        assert here.findings.counts == {Kind.TRIP_FAILED: 1}


@pytest.mark.parametrize("code", [1012, 4001, 4008])
async def test_a_rider_that_is_cut_off_comes_back_and_goes_on_where_that_was(code: int) -> None:
    async with office() as here:
        ride = here.ride()
        await here.say(ride, NEW)
        await here.until(lambda: here.errands.connected)
        view, rider = here.view("t-0"), here.errands.riders["t-0"]
        await here.fake.cut_off("t-0", code)
        await here.until(lambda: rider.cut.total())
        await here.say(ride, *STATES[1:])
        await here.errands.finish(60)
        assert here.fake.subscribed[1]["recover"] == {"epoch": view.epoch, "offset": 1}
        assert view.replays >= 1
        assert here.findings.counts.total() == 0, here.findings.first
        assert here.errands.cut == 1


async def test_a_rider_that_is_told_to_stay_away_is_lost() -> None:
    async with office() as here:
        await here.say(here.ride(), NEW)
        await here.until(lambda: here.errands.connected)
        await here.fake.cut_off("t-0", 4503)
        await here.until(lambda: here.errands.lost)
        assert "4503" in str(here.findings.first[Kind.RIDER_LOST].evidence["why"])


async def test_a_trip_that_is_not_known_yet_is_asked_for_again() -> None:
    async with office() as here:
        here.fake.hidden = {"t-0"}
        await here.say(here.ride(), NEW)
        await here.until(lambda: len(here.fake.subscribed) >= 3)
        here.fake.hidden = set()
        await here.until(lambda: here.errands.connected)
        assert here.findings.counts.total() == 0


@pytest.mark.parametrize(("what", "bytes_per_s"), [(RECONNECT, 0), (HALF_OPEN, 0), (SLOW, 0), (SLOW, 900)])
async def test_what_befalls_a_rider_costs_it_no_event(what: str, bytes_per_s: float) -> None:
    mishap = Mishap(150, what, 200, bytes_per_s)
    async with office([mishap]) as here:
        ride = here.ride()
        await here.say(ride, NEW)
        await here.until(lambda: here.errands.connected)
        view, rider = here.view("t-0"), here.errands.riders["t-0"]
        await here.until(lambda: rider.cut[mishap.what] and view.settled_since_ms is None)
        await here.say(ride, *STATES[1:3])
        await here.until(lambda: view.settled_since_ms is not None)
        await here.say(ride, *STATES[3:])
        await here.errands.finish(60)
        assert [event.state for event in view.events] == list(STATES)
        assert here.findings.counts.total() == 0, here.findings.first


async def test_at_most_so_many_trips_are_shared_and_none_after_its_end() -> None:
    async with office(shared=1) as here:
        rides = [here.ride(number) for number in range(2)]
        await here.say(rides[0], NEW, ENROUTE_TO_PICKUP)
        await here.until(lambda: rides[0].share_url)
        await here.say(rides[1], NEW, ENROUTE_TO_PICKUP)
        await here.until(lambda: here.fake.trips.get("t-1", {}).get("state") == ENROUTE_TO_PICKUP)
        assert rides[1].share_url == ""
        await here.say(rides[0], CANCELED)
        await here.until(lambda: not rides[0].share_url)


async def test_nearby_is_asked_in_the_background_and_told_once() -> None:
    async with office() as here:
        here.fake.cars = ["d-1"]
        here.errands.ask(7, HERE, 1_000.0)
        assert here.errands.shown(7) is None, "not yet; and then nobody asks again"
        here.errands.ask(8, HERE, 1_000.0)
        await here.until(lambda: here.errands._shown.get(8) is not None)
        assert here.errands.shown(8) == frozenset({"d-1"})
        assert here.errands.shown(8) is None


# -- what the oracle finds on a system that lies --------------------------------------------------------------------


async def a_whole_trip(here: Office, lie: Callable[[FakeTrips], Any] | None = None, lose_fix: bool = False) -> None:
    """One trip with a fix every 25 ms; the system lies in the middle."""
    ride = here.ride()
    await here.say(ride, NEW, ENROUTE_TO_PICKUP)
    await here.until(lambda: here.errands.connected and here.view("t-0").trip is not None)
    await here.until(lambda: here.fake.trips["t-0"]["state"] == ENROUTE_TO_PICKUP)
    fixes = here.fake.tracks.setdefault("d-0", [])
    for step in range(12):
        fix_time_ms, lat = now_ms(), 40.75 + step * 1e-5
        await here.fix(0, fix_time_ms, lat)
        if not (lose_fix and step == 6):
            fixes.append((fix_time_ms, lat, -73.99))
        await here.fake.drive("t-0", fix_time_ms, lat, -73.99)
        await asyncio.sleep(0.025)
        if step == 6 and lie is not None:
            await lie(here.fake)
    await here.say(ride, *STATES[2:])
    await here.errands.finish(60)


async def test_a_whole_trip_with_its_track_is_not_held_against_a_system_that_tells_the_truth() -> None:
    async with office() as here:
        await a_whole_trip(here)
        assert here.findings.counts.total() == 0, here.findings.first
        assert here.oracle.fixes >= 5


async def test_a_fix_that_the_track_lacks_is_lost() -> None:
    async with office() as here:
        await a_whole_trip(here, lose_fix=True)
        assert here.findings.counts == {Kind.PING_LOST: 1}
        assert here.findings.first[Kind.PING_LOST].who == "t-0"


async def backwards(fake: FakeTrips) -> None:
    at_ms, lat, lon = fake.tracks["d-0"][2]
    await fake.drive("t-0", at_ms, lat, lon)


async def never_sent(fake: FakeTrips) -> None:
    await fake.drive("t-0", now_ms() + 1, 40.75, -73.99)
    await asyncio.sleep(0.01)


async def elsewhere(fake: FakeTrips) -> None:
    at_ms, lat, lon = fake.tracks["d-0"][-1]
    await fake.drive("t-0", at_ms, lat + 0.001, lon)


async def gap(fake: FakeTrips) -> None:
    await fake.tell(
        "t-0", {**fake.logs["t-0"][-1], "event_id": "a1:x", "type": "trip.approaching", "by": ""}, skipped=1
    )


async def twice(fake: FakeTrips) -> None:
    await fake.tell("t-0", fake.logs["t-0"].pop())


async def another_car(fake: FakeTrips) -> None:
    car = fake.positions["t-0"] | {"driver_id": "d-1"}
    await fake.send("t-0", {"type": "trip_position", "car": car, "progress": STANDS})


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (backwards, Kind.BACKWARDS),
        (never_sent, Kind.GHOST),
        (elsewhere, Kind.POSITION_ERROR),
        (gap, Kind.TRIP_EVENT_LOST),
        (twice, Kind.TRIP_EVENT_DOUBLED),
        (another_car, Kind.GHOST),
    ],
)
async def test_each_lie_is_found_under_its_own_name(lie: Callable[[FakeTrips], Any], kind: Kind) -> None:
    async with office() as here:
        await a_whole_trip(here, lie)
        assert here.findings.counts[kind] >= 1, here.findings.first


async def test_an_acknowledged_state_that_the_rider_is_never_told_is_lost() -> None:
    async with office() as here:
        ride = here.ride()
        await here.say(ride, NEW)
        await here.until(lambda: here.errands.connected)
        tell = here.fake.tell

        async def conflated(trip_id: str, *events: dict[str, Any], skipped: int = 0) -> None:
            if events[0]["state"] != ENROUTE_TO_PICKUP:
                await tell(trip_id, *events, skipped=skipped)

        here.fake.tell = conflated  # type: ignore[method-assign]
        await here.say(ride, *STATES[1:])
        await here.errands.finish(60)
        lost = here.findings.some(Kind.TRIP_EVENT_LOST)
        assert any(each.evidence.get("state") == ENROUTE_TO_PICKUP for each in lost)
        assert here.fake.states("t-0")[-1] == COMPLETE
