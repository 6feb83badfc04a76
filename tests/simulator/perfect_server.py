"""A small city, a server that keeps every promise as late and as unluckily as it may, and ways of breaking it.

No sockets: cars drive, phones send (late, twice, mocked, from tunnels, or nothing more), ingest answers, and the server
tells riders in the words of the wire. Each fix reaches each rider's screen on its own way, in any order, at the latest
`SETTLE_MS` after it was accepted; distances are blurred, since a car near the rim may be shown or not. So whatever the
oracle holds against `PerfectServer` is a false accusation. Mutants (test_oracle_mutants.py) break one promise each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

import h3

from simulator.counts.findings import Findings
from simulator.fleet.fixes import Fix
from simulator.fleet.gps import METRES_PER_DEGREE, Receiver
from simulator.oracle.nearby import NearbyOracle
from simulator.oracle.pings import PingOracle
from simulator.oracle.promises import Promises
from simulator.oracle.truth import Truth
from simulator.phones.phones import Sending
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, Faults, SeenCar, Snapshot, Update, View

START_MS = 1_700_000_000_000
CENTRE = (40.75, -73.98)
STEP_MS = 200
SETTLE_MS, STALE_AFTER_MS, GONE_AFTER_MS, SWEEP_MS = 1_600, 4_000, 8_000, 1_000
#: A message is at most so long on its way.
MOST_TRANSIT_MS = SETTLE_MS - STEP_MS
#: The town goes on for so long after the last reading: everything is sent and answered, and what is silent grows stale.
SILENCE_S = 8
#: Half of the oracle's margin: two cars that are blurred towards each other are a margin apart.
BLUR_M = 7.0
PROMISES = Promises(
    stale_after_ms=STALE_AFTER_MS,
    gone_after_ms=GONE_AFTER_MS,
    settle_ms=SETTLE_MS,
    sweep_ms=SWEEP_MS,
    start_ms=START_MS,
    alone=True,
)


def east_of(place: tuple[float, float], north_m: float, east_m: float) -> tuple[float, float]:
    """The place so many metres away."""
    lat, lon = place
    return lat + north_m / METRES_PER_DEGREE, lon + east_m / (METRES_PER_DEGREE * math.cos(math.radians(lat)))


def metres(here: tuple[float, float], there: tuple[float, float]) -> float:
    """By the spherical law of cosines: another way than the oracle's, good to a few centimetres in a town."""
    (lat, lon), (other_lat, other_lon) = (tuple(map(math.radians, place)) for place in (here, there))
    cosine = math.sin(lat) * math.sin(other_lat) + math.cos(lat) * math.cos(other_lat) * math.cos(other_lon - lon)
    return math.acos(min(1.0, cosine)) * 6_371_007.2


def _credible(said: float | None, most: float) -> float | None:
    """docs/wire/pings.md: what cannot be true becomes unknown, and 360 degrees are 0."""
    if said is None or not 0.0 <= said <= most:
        return None
    return 0.0 if said == 360.0 else said


class Posted(NamedTuple):
    """A ping as it is posted, and what comes of it."""

    sending: Sending
    accepted_ms: int
    #: When it may first count on each rider's screen.
    shows_ms: tuple[int, ...]


@dataclass
class Town:
    """What happens in the town: where cars are, and what their phones post. Everything is drawn from `seed`."""

    seed: int
    drivers: int = 8
    seats: int = 3
    seconds: int = 14
    posted: list[Posted] = field(default_factory=list)
    track: list[list[tuple[int, float, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        for driver in range(self.drivers):
            self._drive(driver)
        self.posted.sort(key=lambda each: each.sending.send_at_ms)

    @property
    def driver_ids(self) -> list[str]:
        return [f"d-{driver}" for driver in range(self.drivers)]

    def _drive(self, driver: int) -> None:
        random, phone = self.random, Receiver(self.random)
        place = east_of(CENTRE, random.uniform(-500, 500), random.uniform(-500, 500))
        heading, speed_mps = random.uniform(0, 2 * math.pi), random.choice((0.0, 8.0, 20.0))
        track = []
        readings = []
        for now_ms in range(0, self.seconds * 1_000, STEP_MS):
            heading += random.uniform(-0.3, 0.3)
            speed_mps = max(0.0, min(20.0, speed_mps + random.uniform(-0.5, 0.5))) if speed_mps else 0.0
            step_m = speed_mps * STEP_MS / 1_000
            place = east_of(place, step_m * math.cos(heading), step_m * math.sin(heading))
            track.append((START_MS + now_ms, *place))
            if now_ms % 1_000 == 200 * (driver % 5):
                readings.append((START_MS + now_ms, phone.observe(*place, 1.0, random)))
        self.track.append(track)
        self._post(driver, readings)

    def _post(self, driver: int, readings: list[tuple[int, tuple[float, float]]]) -> None:
        random = self.random
        end_ms = START_MS + self.seconds * 1_000
        dies_ms = random.choice((end_ms, end_ms, START_MS + random.randrange(1_000, 6_000)))
        tunnel_from_ms = START_MS + random.randrange(0, 8_000)
        tunnel_until_ms = tunnel_from_ms + random.choice((0, 0, 3_000, 6_000))
        skew_ms = random.choice((0, 0, 0, 1_500, -1_500))
        stuck_from_ms = random.choice((end_ms, end_ms, end_ms, START_MS + 5_000))
        last = readings[0][1]
        sendings: list[tuple[int, int, Fix, bool, str]] = []
        for at_ms, read in readings:
            if at_ms >= dies_ms:
                break
            place = last = last if at_ms >= stuck_from_ms else read
            send_ms = at_ms + random.randrange(0, 150)
            if tunnel_from_ms <= at_ms < tunnel_until_ms:
                send_ms = tunnel_until_ms
            honest = skew_ms == 0 and place is read
            fix = self._fix(driver, at_ms + skew_ms, place)
            sendings.append((send_ms, random.randrange(1_000), fix, honest, "shown"))
            if random.random() < 0.15:
                sendings.append((send_ms + random.randrange(0, 3_000), 2_000, fix, honest, "shown"))
            if random.random() < 0.08:
                far = east_of(place, 3_000.0, 0.0)
                false = self._fix(driver, at_ms + skew_ms + 300, far)
                sendings.append((send_ms, 3_000, false, False, random.choice(("kept", "mock_location"))))
        newest_ms = 0
        for send_ms, _, fix, honest, wish in sorted(sendings, key=lambda each: each[:2]):
            # What a phone sends late, or again, never moves a marker.
            expect = "kept" if wish == "shown" and fix.fix_time_ms <= newest_ms else wish
            newest_ms = max(newest_ms, fix.fix_time_ms if expect == "shown" else 0)
            accepted_ms = send_ms + random.choice((5, 30, 300))
            late = [random.choice((0, 100, SETTLE_MS - STEP_MS)) for _ in range(self.seats)]
            shows_ms = tuple(random.choice((send_ms, accepted_ms + each)) for each in late)
            self.posted.append(Posted(Sending(send_ms, driver, fix, honest, expect), accepted_ms, shows_ms))

    def _fix(self, driver: int, fix_time_ms: int, place: tuple[float, float]) -> Fix:
        """What a phone says beside the place, or does not; some say what cannot be."""
        random = self.random
        return Fix(
            driver_id=f"d-{driver}",
            fix_time_ms=fix_time_ms,
            lat=place[0],
            lon=place[1],
            heading_deg=random.choice((None, -1.0, 0.0, round(random.uniform(0, 360), 1))),
            speed_mps=random.choice((None, -1.0, 0.0, 501.0, round(random.uniform(0, 30), 1))),
            accuracy_m=random.choice((None, round(random.uniform(1, 200), 1))),
            vehicle_type=random.choice(("", "TAXI", "AUTO")),
        )


class Rider:
    """One screen, and what the server has told it."""

    def __init__(self, seat: Seat, transit_ms: int) -> None:
        self.seat, self.transit_ms = seat, transit_ms
        self.told: dict[str, SeenCar] = {}
        self.seq = 0
        self.view: View | None = None


class PerfectServer:
    """Tells riders the truth. Whatever a mutant does differently is a method of its own."""

    def __init__(self, town: Town, promises: Promises = PROMISES) -> None:
        self.town, self.random, self.promises = town, Random(town.seed + 1), promises
        self.truth, self.findings = Truth(town.driver_ids), Findings()
        self.oracle = NearbyOracle(self.truth, self.findings, promises)
        self.pings = PingOracle(self.findings)
        self.blur = {
            (seat, driver): self.random.uniform(-BLUR_M, BLUR_M)
            for seat in range(town.seats)
            for driver in town.driver_ids
        }
        self.riders = [self._rider(number) for number in range(town.seats)]
        #: Of each seat and driver the fixes that have come through, in that order.
        self.known: list[dict[str, list[Fix]]] = [{} for _ in self.riders]

    def _rider(self, number: int) -> Rider:
        lat, lon = self._stand()
        radius_m, limit = self.random.uniform(150, 700), self.random.choice((1, 3, 500))
        seat = Seat(f"map-{number}", lat, lon, radius_m, limit, {}, None)
        return Rider(seat, self.random.randrange(0, MOST_TRANSIT_MS))

    def _stand(self) -> tuple[float, float]:
        return east_of(CENTRE, self.random.uniform(-300, 300), self.random.uniform(-300, 300))

    def play(self) -> Findings:
        """Let the town live, and return what the oracle holds against this server."""
        town = self.town
        end_ms = START_MS + (town.seconds + SILENCE_S) * 1_000
        sent = iter(sorted(town.posted, key=lambda each: each.sending.send_at_ms))
        judged = sorted(town.posted, key=lambda each: each.accepted_ms)
        shown = sorted(
            ((at_ms, n, each) for each in town.posted for n, at_ms in enumerate(each.shows_ms)),
            key=lambda each: each[:2],
        )
        next_sent = next(sent, None)
        for now_ms in range(START_MS, end_ms, STEP_MS):
            for driver, track in enumerate(town.track):
                if track and track[0][0] <= now_ms:
                    self.truth.moved(driver, *track.pop(0))
            while next_sent is not None and next_sent.sending.send_at_ms <= now_ms:
                sending = next_sent.sending
                self.truth.sent(sending, sending.send_at_ms)
                self.pings.posted(sending, sending.send_at_ms)
                next_sent = next(sent, None)
            while judged and judged[0].accepted_ms <= now_ms:
                self._judge(judged.pop(0))
            while shown and shown[0][0] <= now_ms:
                _, seat, posted = shown.pop(0)
                if self.lets_in(posted.sending):
                    fix = self.reads(posted.sending.fix)
                    self.known[seat].setdefault(fix.driver_id, []).append(fix)
            for number, rider in enumerate(self.riders):
                self._serve(number, rider, now_ms)
            if (now_ms - START_MS) % SWEEP_MS == 0:
                self.oracle.sweep([rider.seat for rider in self.riders], now_ms)
        self.pings.end(end_ms)
        return self.findings

    def _judge(self, posted: Posted) -> None:
        sending, at_ms = posted.sending, posted.accepted_ms
        reason = None if sending.expect in ("shown", "kept") else sending.expect
        self.truth.judged(sending.driver, sending.fix.fix_time_ms, reason, at_ms)
        self.pings.judged(sending.fix.driver_id, sending.fix.fix_time_ms, reason, at_ms)

    def _serve(self, number: int, rider: Rider, now_ms: int) -> None:
        seat = rider.seat
        if rider.view is None or self.random.random() < 0.02:
            seat.settled_since_ms = None
            faults = Faults(tell=lambda broken: self._broken(seat, broken, now_ms))
            rider.view, rider.seq, rider.told = View("map", faults, seat.limit), 0, {}
        elif self.random.random() < 0.02:
            seat.lat, seat.lon = self._stand()
            seat.settled_since_ms = None
        clock_ms = now_ms - rider.transit_ms
        wanted = self.around(number, seat, self.clock(number, clock_ms), clock_ms)
        message = self._message(rider, wanted, self.clock(number, clock_ms))
        if message is not None:
            rider.seq += 1
            if isinstance(message, Snapshot):
                rider.view.show(message)
            else:
                rider.view.change(message)
            seat.cars = rider.view.cars
            cars = message.cars if isinstance(message, Snapshot) else message.enter + message.move
            for car in cars:
                self.oracle.told(seat, car, message.server_time_ms, now_ms)
        if seat.settled_since_ms is None:
            seat.settled_since_ms = now_ms

    def _message(self, rider: Rider, wanted: dict[str, SeenCar], server_ms: int) -> Snapshot | Update | None:
        told = rider.told
        if rider.seq == 0:
            rider.told = wanted
            return Snapshot("map", 1, server_ms, list(wanted.values()))
        enter = [car for name, car in wanted.items() if name not in told]
        move = [car for name, car in wanted.items() if name in told and self.differs(told[name], car)]
        leave = self.leaves([name for name in told if name not in wanted])
        rider.told = dict(wanted)
        if not (enter or move or leave):
            return None
        return Update("map", rider.seq + 1, server_ms, enter, move, leave)

    def _broken(self, seat: Seat, broken: Broken, at_ms: int) -> None:
        self.oracle.broken(seat, broken, at_ms)

    def around(self, number: int, seat: Seat, server_ms: int, now_ms: int) -> dict[str, SeenCar]:
        """The cars that this seat is to be shown, by driver."""
        found = []
        for driver_id, fixes in self.known[number].items():
            fix = self.newest(fixes)
            if server_ms - fix.fix_time_ms >= self.gone_after_ms():
                continue
            distance_m = metres((seat.lat, seat.lon), (fix.lat, fix.lon)) + self.blur[number, driver_id]
            if distance_m <= self.radius_m(seat):
                found.append((self.rank(distance_m), driver_id, fix))
        found.sort(key=lambda each: each[:2])
        chosen = self.chosen(found[: seat.limit])
        return {driver_id: self.car(fix, server_ms) for _, driver_id, fix in chosen}

    def car(self, fix: Fix, server_ms: int) -> SeenCar:
        age_ms = server_ms - fix.fix_time_ms
        return SeenCar(
            *(fix.driver_id, fix.lat, fix.lon, fix.fix_time_ms, max(0, age_ms), self.freshness(age_ms)),
            cell=h3.latlng_to_cell(fix.lat, fix.lon, 9),
            heading_deg=_credible(fix.heading_deg, 360.0),
            speed_mps=_credible(fix.speed_mps, 500.0),
            accuracy_m=fix.accuracy_m,
            vehicle_type=fix.vehicle_type,
        )

    def differs(self, told: SeenCar, now: SeenCar) -> bool:
        return (told.fix_time_ms, told.freshness) != (now.fix_time_ms, now.freshness)

    # What the mutants change, one each.
    def lets_in(self, sending: Sending) -> bool:
        return sending.expect == "shown"

    def reads(self, fix: Fix) -> Fix:
        return fix

    def newest(self, fixes: list[Fix]) -> Fix:
        return max(fixes, key=lambda fix: fix.fix_time_ms)

    def clock(self, number: int, now_ms: int) -> int:
        return now_ms

    def gone_after_ms(self) -> float:
        return self.promises.gone_after_ms

    def freshness(self, age_ms: int) -> Literal["live", "stale"]:
        return "stale" if age_ms >= self.promises.stale_after_ms else "live"

    def radius_m(self, seat: Seat) -> float:
        return seat.radius_m

    def rank(self, distance_m: float) -> float:
        return distance_m

    def chosen(self, found: list[tuple[float, str, Fix]]) -> list[tuple[float, str, Fix]]:
        return found

    def leaves(self, driver_ids: list[str]) -> list[str]:
        return driver_ids
