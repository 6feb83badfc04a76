"""One driver's drive on a trip: the track, where the car is on its way, how far it has to go and how long. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

import h3.api.basic_int as h3
from msgspec.structs import replace

from ingest.events import Ping
from ingest.trips import (
    ARRIVED_AT_INTERMEDIATE_DESTINATION,
    CANCELED,
    NEW,
    PICKUP,
    WAYPOINT_PREFIX,
    Place,
    Trip,
    next_stop,
)
from stream.arrivals import Approach, Found
from stream.eta import Pace
from stream.positions import KEPT_FIXES, live_of, precedence
from stream.rides import NEVER_MS, Stretch, began_of
from stream.routes import OFF_ROUTE_M, Leg, Match, legs_of
from stream.track import Track, track_fix
from stream.trip_channels import TrackFix, TripCar


@dataclass(frozen=True, slots=True)
class TripRules:
    """What the join goes by. Metres, metres per second, milliseconds; see TripSettings."""

    arrival_radius_m: float
    departure_radius_m: float
    detour_factor: float
    default_speed_mps: float
    max_speed_mps: float
    now_within_ms: int
    kept_ms: int


class Drive:
    """An assignment of a trip: a driver, since `start_ms`.

    `unwritten` has the times of fixes that Redis lacks, and `removed` of those that it is to forget.
    """

    def __init__(
        self,
        trip: Trip,
        rules: TripRules,
        car: TripCar | None = None,
        pace: Pace | None = None,
        approach: Approach | None = None,
    ) -> None:
        """`car`, `pace` and `approach` are what was saved of this drive."""
        self._trip, self._rules = trip, rules
        self.start_ms = began_of(trip)
        self.track = Track(rules.max_speed_mps)
        self.unwritten: set[int] = set()
        self.removed: set[int] = set()
        #: Stretches of time that the driver spent with other riders: nothing of them is this one's affair.
        self._barred: tuple[Stretch, ...] = ()
        #: The car that was shown is to be taken away.
        self.car_gone = False
        #: Until then the driver was seen to be busy, while this trip waits for it.
        self._free_ms = self.start_ms
        self.car, self.pace, self.approach = car, pace or Pace(), approach or Approach()
        self._legs: dict[str, Leg] | None = None
        #: The car when it was last on its polyline.
        self._on_route = car if car is not None and car.route_m is not None else None

    def turn(self, trip: Trip) -> None:
        """The trip's state may have changed, and with it where the car is heading."""
        before, self._trip = self._trip, trip
        if trip.state not in (NEW, CANCELED):
            self._free_ms = self.start_ms
        if (before.approach, before.route, before.waypoints) != (trip.approach, trip.route, trip.waypoints):
            self._legs = self._on_route = None
        stop = self._heading
        if stop is None:
            self.approach.head_for("", False)
        elif stop[0] != self.approach.place:
            self.approach.head_for(stop[0], stop[0] == PICKUP or self._apart(stop[1]))
        if trip.ended:
            self.car = None
        elif self.car is not None:
            self._go(self.car)

    def join(self, pings: Iterable[Ping], until_ms: int | None) -> bool:
        """Pings of the driver, in any order: those since the start join the track. Whether that changed it."""
        changed = False
        for ping in pings:
            at_ms = ping.fix_time_ms
            if (until_ms is not None and at_ms > until_ms) or not self._is_its_own(at_ms):
                continue
            if self.track.add(track_fix(ping)):
                self.unwritten.add(at_ms)
                changed = True
        return changed

    def move_to_newest(self, recent: Iterable[Ping]) -> bool:
        """Pings that were read before the trip was: they tell where the car is, and nothing that happens now."""
        by_time: dict[int, Ping] = {}
        for ping in sorted(recent, key=precedence, reverse=True):
            by_time[ping.fix_time_ms] = ping
        newest = [by_time[at_ms] for at_ms in sorted(by_time)][-KEPT_FIXES:]
        return bool(newest) and self.move(live_of(newest, self._rules.max_speed_mps))

    def move(self, live: Ping) -> bool:
        """The car is where a newer fix says; whether it is newer."""
        car, trip = self.car, self._trip
        at_ms = live.fix_time_ms
        if trip.ended or (car is not None and at_ms <= car.fix_time_ms):
            return False
        if self.held or not self._is_its_own(at_ms):
            return False
        self._go(
            TripCar(
                trip.assignment,
                trip.driver_id,
                live.fix_time_ms,
                live.lat,
                live.lon,
                live.received_at_ms,
                live.accuracy_m,
                live.heading_deg,
                live.speed_mps,
                live.vehicle_type,
            )
        )
        return True

    @property
    def held(self) -> bool:
        """Whether the driver is busy with another trip now."""
        return any(stretch.until_ms == NEVER_MS for stretch in self._barred)

    def is_barred(self, at_ms: int) -> bool:
        return any(at_ms in stretch for stretch in self._barred)

    def bar(self, stretches: tuple[Stretch, ...]) -> bool:
        """The driver was with other riders then: what is here of it is forgotten. Whether there was anything."""
        self._barred = stretches
        removed = [at_ms for at_ms in self.track.times_ms if self.is_barred(at_ms)] if stretches else []
        self.track.remove(removed)
        self.unwritten.difference_update(removed)
        self.removed.update(removed)
        return self._take_away() or bool(removed)

    def hold_until(self, fix_time_ms: int) -> None:
        """The driver was still busy at this fix: a phone's clock may be ahead of the one that trips go by."""
        self._free_ms = max(self._free_ms, fix_time_ms + 1)

    def _is_its_own(self, at_ms: int) -> bool:
        return at_ms >= self._free_ms and not self.is_barred(at_ms)

    def _take_away(self) -> bool:
        """No car is shown that is with another rider; whether one was."""
        if self.car is None or not (self.held or self.is_barred(self.car.fix_time_ms)):
            return False
        self.car = self._on_route = None
        self.car_gone = True
        return True

    def forget_track(self) -> None:
        """Nobody will ask for it here any more."""
        self.track, self.unwritten = Track(self._rules.max_speed_mps), set()

    def look(self, now_ms: int, told: Container[str]) -> list[Found]:
        """What happens because the car is where it has moved to. `told` has the keys of what was found before."""
        car, stop, rules = self.car, self._heading, self._rules
        if car is None or stop is None or car.eta_s is None:
            return []
        if car.fix_time_ms < now_ms - rules.now_within_ms:
            self.approach.interrupt()
            return []
        distance_m = _distance_m(car, stop[1])
        return self.approach.look(distance_m, car.eta_s, told, rules.arrival_radius_m, rules.departure_radius_m)

    def adopt(self, fixes: Iterable[TrackFix], car: TripCar | None) -> None:
        """What Redis has of this drive."""
        there = {fix.fix_time_ms: fix for fix in fixes}
        barred = {at_ms for at_ms in there if self.is_barred(at_ms)}
        self.removed |= barred
        there = {at_ms: fix for at_ms, fix in there.items() if at_ms not in barred}
        for fix in there.values():
            self.track.add(fix)
        self.unwritten = {fix.fix_time_ms for fix in self.track if there.get(fix.fix_time_ms) != fix}
        if car is None or self._trip.ended or (self.car is not None and self.car.fix_time_ms >= car.fix_time_ms):
            return
        if self.held or self.is_barred(car.fix_time_ms):
            self.car_gone = self.car is None
            return
        self.approach.interrupt()
        self._on_route = car if car.route_m is not None else self._on_route
        self._go(car)

    def lost(self) -> None:
        """Redis has no fix of it."""
        self.unwritten = {fix.fix_time_ms for fix in self.track}

    def take_car(self) -> TripCar | None:
        """The car, with the distance that it has driven by now."""
        if self.car is not None:
            self.car = replace(self.car, distance_m=self.track.distance_m)
        return self.car

    def take_fixes(self) -> list[TrackFix]:
        """The fixes that Redis lacks, oldest first; from here on it has them."""
        fixes = self.track.at(self.unwritten)
        self.unwritten = set()
        return fixes

    def take_removed(self) -> list[int]:
        """When the fixes were taken that Redis is to forget; from here on it has."""
        removed, self.removed = sorted(self.removed), set()
        return removed

    @property
    def _heading(self) -> tuple[str, Place] | None:
        """The stop that the car is on its way to."""
        return next_stop(self._trip) if self._trip.state.startswith("ENROUTE_") else None

    def _apart(self, stop: Place) -> bool:
        """Whether the stop before this one is another place."""
        passed = self._trip.next_waypoint
        before = self._trip.waypoints[passed - 1] if passed > 0 else self._trip.pickup
        return _distance_m(before, stop) > self._rules.arrival_radius_m

    def _go(self, car: TripCar) -> None:
        """Find the car's place on its way, and what remains of it."""
        self.car_gone = False
        rules, leg = self._rules, self._leg()
        match = self._match(leg, car) if leg is not None else None
        off_route = leg is not None and leg.route is not None and match is None
        route_m = match.at_m if match is not None else None
        stop = next_stop(self._trip)
        if leg is None or stop is None:
            self.car = replace(car, leg="", remaining_m=None, eta_s=None, route_m=route_m, off_route=off_route)
        else:
            if match is not None:
                remaining_m = max(leg.end_m - match.at_m, 0.0) + leg.beyond_m * rules.detour_factor
            else:
                remaining_m = _distance_m(car, leg.stop) * rules.detour_factor
            if self._heading is not None:
                way = leg.name if match is not None else f"{leg.name} straight"
                self.pace.feed(way, car.fix_time_ms, remaining_m, rules.default_speed_mps, rules.max_speed_mps)
            eta_s = self.pace.eta_s(remaining_m, rules.default_speed_mps)
            self.car = replace(
                car, leg=leg.name, remaining_m=remaining_m, eta_s=eta_s, route_m=route_m, off_route=off_route
            )
        if route_m is not None:
            self._on_route = self.car

    def _match(self, leg: Leg, car: TripCar) -> Match | None:
        if leg.route is None:
            return None
        at_m, moved_m, on = leg.begin_m, 0.0, self._on_route
        if on is not None and on.route_m is not None and (on.leg == PICKUP) == (leg.name == PICKUP):
            at_m, moved_m = on.route_m, _distance_m(on, car)
        reach_m = OFF_ROUTE_M + min(car.accuracy_m or 0.0, OFF_ROUTE_M)
        return leg.route.find(car.lat, car.lon, at_m, moved_m, reach_m)

    def _leg(self) -> Leg | None:
        """The way to the next stop; at a stop between, the one that ended there, which has a place on the route."""
        if self._legs is None:
            self._legs = legs_of(self._trip)
        stop = next_stop(self._trip)
        if stop is not None:
            return self._legs[stop[0]]
        if self._trip.state == ARRIVED_AT_INTERMEDIATE_DESTINATION:
            leg = self._legs[f"{WAYPOINT_PREFIX}{self._trip.next_waypoint}"]
            return leg if leg.route is not None else None
        return None


def _distance_m(one: Place | TripCar, other: Place | TripCar) -> float:
    return float(h3.great_circle_distance((one.lat, one.lon), (other.lat, other.lon), unit="m"))
