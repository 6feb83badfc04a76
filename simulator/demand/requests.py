"""Demand: who wants to go from where to where, and when. One generator of chance, no clock. Pure.

The same demand, roads and seed give the same requests, however the time is cut. Times are scenario time, milliseconds
since the run began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from math import cos, radians
from random import Random
from typing import NamedTuple

import h3

from simulator.demand.recorded import Recorded, RequestsError
from simulator.roads.nearest_node import EARTH_RADIUS_M, NearestNode
from simulator.roads.network import RoadNetwork
from simulator.scenarios.scenario import Demand

DAY_S = 86_400
#: How far a trip goes when nothing says so: inside Manhattan the median is about 2 km; nearer is a walk.
TRIP_M = (800.0, 3_000.0)
#: A recorded request with an end farther from the roads than this is one of another place.
MOST_OFF_ROAD_M = 250.0
#: On the sphere of simulator/roads/nearest_node.py; good enough to put a place some hundred metres away.
METRES_PER_DEGREE = radians(EARTH_RADIUS_M)
#: So many places are tried before it is said that there is none.
TRIES = 64


class Request(NamedTuple):
    """Somebody wants to go. Nodes are those of the road network."""

    number: int
    at_ms: int
    rider_id: str
    origin_node: int
    destination_node: int


class Requests:
    """The requests of a run, in order of time: one by one, or as they fall due. They never end if the run does not.

    `recorded` is what `demand.file` holds. Raises RequestsError when no request can be made.
    """

    def __init__(
        self,
        demand: Demand,
        roads: RoadNetwork,
        random: Random,
        duration_s: float | None,
        recorded: Sequence[Recorded] = (),
    ) -> None:
        if demand.file and not recorded:
            raise ValueError("read demand.file first")
        self._demand, self._roads, self._random = demand, roads, random
        self._nearest = NearestNode(roads.positions)
        ends_s = [end_s for end_s in (demand.until_s, duration_s) if end_s is not None]
        self._end_s = min(ends_s, default=None)
        self._day = _Day(demand, roads, self._nearest, random, recorded) if demand.file else None
        if self._day is None:
            self._refuse_spots_off_the_roads()
        self._coming = self._requests()
        # One is made ahead, so that a demand that cannot be met is refused before anything runs.
        self._next = next(self._coming, None)

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        if self._next is None:
            raise StopIteration
        request, self._next = self._next, next(self._coming, None)
        return request

    @property
    def next_due_ms(self) -> int | None:
        """When the next request comes; None after the last."""
        return None if self._next is None else self._next.at_ms

    def due(self, now_ms: int) -> list[Request]:
        """Every request that has come up to and including `now_ms`."""
        requests = []
        while self._next is not None and self._next.at_ms <= now_ms:
            requests.append(next(self))
        return requests

    def _requests(self) -> Iterator[Request]:
        for number, (at_s, (origin, destination)) in enumerate(self._timed()):
            if self._end_s is not None and at_s >= self._end_s:
                return
            # Ids come from the seed and carry the number: no two riders of one run share one.
            rider_id = f"sim-rider-{self._random.getrandbits(32):08x}-{number}"
            yield Request(number, round(at_s * 1_000), rider_id, origin, destination)

    def _timed(self) -> Iterator[tuple[float, tuple[int, int]]]:
        """(when, from where to where): the day's own times, or drawn ones with the day's trips, or all drawn."""
        demand, day = self._demand, self._day
        if day is None:
            yield from ((at_s, self._drawn()) for at_s in self._times_s())
        elif demand.trips is None and demand.rate_per_min is None:
            yield from ((demand.from_s + at_s, trip) for at_s, trip in day.trips())
        else:
            # The times first: they end, the day begins again.
            yield from ((at_s, trip) for at_s, (_, trip) in zip(self._times_s(), day.trips(), strict=False))

    def _times_s(self) -> Iterator[float]:
        demand = self._demand
        if demand.trips is not None:
            assert self._end_s is not None  # a scenario without one is refused
            yield from sorted(self._random.uniform(demand.from_s, self._end_s) for _ in range(demand.trips))
            return
        assert demand.rate_per_min is not None
        at_s = demand.from_s
        while True:
            # People do not know of each other: a Poisson process.
            at_s += self._random.expovariate(demand.rate_per_min / 60)
            yield at_s

    def _drawn(self) -> tuple[int, int]:
        """A trip that nobody recorded: from a hot spot or anywhere, to anywhere that is not too near or far."""
        least_m, most_m = self._demand.trip_m or TRIP_M
        for _ in range(TRIES):
            origin = self._origin()
            there = self._nearest.between(*self._roads.positions[origin], least_m, most_m)
            for destination in self._random.sample(there, min(len(there), TRIES)):
                if destination != origin and _quick_enough(self._roads, origin, destination, self._demand.most_trip_s):
                    return origin, destination
        raise RequestsError(
            f"demand.trip_m: no trip of {least_m:g} to {most_m:g} m "
            f"{'' if self._demand.most_trip_s is None else f'in {self._demand.most_trip_s:g} s (most_trip_s) '}"
            "was found on these roads; allow for shorter or longer ones"
        )

    def _origin(self) -> int:
        draw = self._random.random()
        for spot in self._demand.hot_spots:
            if draw < spot.share:
                north_m, east_m = self._random.gauss(0.0, spot.sigma_m), self._random.gauss(0.0, spot.sigma_m)
                lat = spot.lat + north_m / METRES_PER_DEGREE
                return self._nearest.find(lat, spot.lon + east_m / METRES_PER_DEGREE / cos(radians(spot.lat)))[0]
            draw -= spot.share
        return self._random.randrange(len(self._roads.positions))

    def _refuse_spots_off_the_roads(self) -> None:
        for number, spot in enumerate(self._demand.hot_spots):
            away_m = self._nearest.find(spot.lat, spot.lon)[1]
            if away_m > max(MOST_OFF_ROAD_M, 3 * spot.sigma_m):
                raise RequestsError(f"demand.hot_spots[{number}]: is {away_m:,.0f} m from the nearest road; move it")


class _Day:
    """A recorded day on these roads, over and over, from the time of day that the demand starts at."""

    def __init__(
        self, demand: Demand, roads: RoadNetwork, nearest: NearestNode, random: Random, recorded: Sequence[Recorded]
    ) -> None:
        self._most_trip_s, self._roads, self._random = demand.most_trip_s, roads, random
        hours, minutes = demand.start.split(":")
        start_s = int(hours) * 3_600 + int(minutes) * 60
        self._rows: list[tuple[int, int, tuple[int, int]]] = []
        for request in sorted(recorded, key=lambda request: (request.at_s - start_s) % DAY_S):
            (origin, o_away_m), (destination, d_away_m) = (
                nearest.find(request.o_lat, request.o_lon),
                nearest.find(request.d_lat, request.d_lon),
            )
            if (
                origin != destination
                and max(o_away_m, d_away_m) <= MOST_OFF_ROAD_M
                and self._far_enough(demand, origin, destination)
            ):
                self._rows.append(((request.at_s - start_s) % DAY_S, request.within_s, (origin, destination)))
        if not self._rows:
            raise RequestsError(
                f"demand.file: none of its {len(recorded):,} requests goes from one place on these roads to another"
                f"{' as far away as demand.trip_m says' if demand.trip_m else ''}"
            )

    def trips(self) -> Iterator[tuple[float, tuple[int, int]]]:
        """(seconds since the start, (origin, destination)), in order of time, for ever."""
        for day in count():
            some = False
            times = [day * DAY_S + at_s + self._random.uniform(0.0, within_s) for at_s, within_s, _ in self._rows]
            for at_s, (_, _, trip) in sorted(zip(times, self._rows, strict=True)):
                if _quick_enough(self._roads, *trip, self._most_trip_s):
                    some = True
                    yield at_s, trip
            if not some:
                raise RequestsError(f"demand.most_trip_s: no request of the file takes at most {self._most_trip_s:g} s")

    def _far_enough(self, demand: Demand, origin: int, destination: int) -> bool:
        if demand.trip_m is None:
            return True
        ends = self._roads.positions[origin], self._roads.positions[destination]
        apart_m: float = h3.great_circle_distance(*ends, unit="m")
        return demand.trip_m[0] <= apart_m <= demand.trip_m[1]


def _quick_enough(roads: RoadNetwork, origin: int, destination: int, most_s: float | None) -> bool:
    return most_s is None or roads.travel_ms(roads.route(origin, destination)) <= most_s * 1_000
