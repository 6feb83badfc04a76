"""A scenario: city, fleet, demand, riders, faults and bounds of one run, as its TOML says. Pure.

Everything that is wrong with a file is named in one message. What the kinds of faults mean is known elsewhere, so their
own members are judged by `checks`, also where something else is wrong. simulator/scenarios holds the shipped ones and
opens files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from simulator.scenarios.amounts import MOST_S, Count, Metres, Seconds, Share
from simulator.scenarios.bounds import Bounds
from simulator.scenarios.toml_tables import Table, read_table, read_what_can_be

#: What docs/wire/pings.md names.
VehicleType = Literal["AUTO", "TAXI", "TRUCK", "TWO_WHEELER", "BICYCLE", "PEDESTRIAN"]
Lat = Annotated[float, Meta(ge=-90, le=90)]
Lon = Annotated[float, Meta(ge=-180, le=180)]


class ScenarioError(ValueError):
    """A scenario cannot be played; the message is one line that names the file and everything that is wrong in it."""


class Area(Table, frozen=True, kw_only=True):
    """A circle on the ground. Degrees, metres."""

    lat: Lat
    lon: Lon
    radius_m: Metres


class City(Table, frozen=True, kw_only=True):
    """The road network: a shipped one, or two tables of the user's own; all of it, or what lies within `area`."""

    roads: Literal["manhattan"] = "manhattan"
    #: Paths; as read from a file they are relative to it.
    nodes: str = ""
    edges: str = ""
    area: Area | None = None

    def problems(self) -> Iterator[str]:
        if bool(self.nodes) != bool(self.edges):
            yield "nodes: goes with edges, and edges with nodes"


class FleetPlan(Table, frozen=True, kw_only=True):
    """How many drivers, in what, and how often their phones report."""

    drivers: Annotated[int, Meta(ge=1, le=1_000_000)]
    #: At least the step in which reports are spread over the interval (simulator/fleet/fleet.py PHASE_MS).
    interval_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 1.0
    standing_interval_s: Annotated[float, Meta(ge=0.1, le=3_600)] | None = None
    #: Shares that sum to 1. Left out, as in simulator/fleet/fleet.py: mostly cars, taxis, some two-wheelers. Assumed.
    vehicles: dict[VehicleType, Share] = msgspec.field(
        default_factory=lambda: {"AUTO": 0.60, "TAXI": 0.34, "TWO_WHEELER": 0.06}
    )

    @property
    def interval_ms(self) -> int:
        return round(self.interval_s * 1_000)

    @property
    def standing_interval_ms(self) -> int:
        return self.interval_ms if self.standing_interval_s is None else round(self.standing_interval_s * 1_000)

    def problems(self) -> Iterator[str]:
        if abs(sum(self.vehicles.values()) - 1) > 1e-6:
            yield f"vehicles: the shares sum to {sum(self.vehicles.values()):g}, not to 1"
        if self.standing_interval_ms < self.interval_ms:
            yield "standing_interval_s: must be at least interval_s: a phone does not report more when it stands"


class HotSpot(Table, frozen=True, kw_only=True):
    """Where many requests come from: a round hill of them."""

    lat: Lat
    lon: Lon
    sigma_m: Metres
    share: Share


class Demand(Table, frozen=True, kw_only=True):
    """Who wants to go where, and when (simulator/demand/requests.py)."""

    #: So many in all, or so many a minute, or, with a file, as often as in the file.
    trips: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    rate_per_min: Annotated[float, Meta(gt=0, le=60_000)] | None = None
    #: "nyc", or a path; as read from a scenario it is relative to it. `start` is the time of its day to begin at.
    file: str = ""
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    hot_spots: tuple[HotSpot, ...] = ()
    #: Requests come only then, so that trips can end before the run does.
    from_s: Seconds = 0.0
    until_s: Seconds | None = None
    patience_s: Seconds = 60.0
    #: How far trips go: the distance between the ends as the crow flies, and the links' travel times, without stops.
    trip_m: tuple[Metres, Metres] | None = None
    most_trip_s: Annotated[float, Meta(gt=0, le=MOST_S)] | None = None
    #: From standing at the pickup to driving on.
    boarding_s: tuple[Seconds, Seconds] = (15.0, 45.0)

    def problems(self) -> Iterator[str]:
        if self.trips is not None and self.rate_per_min is not None:
            yield "trips: give trips or rate_per_min, not both"
        if self.trips is None and self.rate_per_min is None and not self.file:
            yield "trips: give trips, rate_per_min or file"
        if self.file and self.hot_spots:
            yield "hot_spots: the places are those of file; give one of the two"
        if self.start != "00:00" and not self.file:
            yield "start: is a time of day of file; give file too"
        if sum(spot.share for spot in self.hot_spots) > 1 + 1e-6:
            yield "hot_spots: the shares sum to more than 1 (what is left to 1 comes from anywhere)"
        if self.until_s is not None and self.until_s <= self.from_s:
            yield "until_s: must be after from_s"
        if self.trip_m is not None and self.trip_m[0] > self.trip_m[1]:
            yield "trip_m: give the shorter distance first"
        if self.boarding_s[0] > self.boarding_s[1]:
            yield "boarding_s: give the shorter time first"


class RidersPlan(Table, frozen=True, kw_only=True):
    """Who watches the map. The riders of trips come on top."""

    map: Count = 0
    #: docs/wire/websocket.md: max_radius_m and max_cars, as push is shipped.
    radius_m: Annotated[float, Meta(gt=0, le=5_000)] = 1_000.0
    limit: Annotated[int, Meta(ge=1, le=500)] | None = None
    walk_after_s: tuple[Seconds, Seconds] = (15.0, 45.0)

    def problems(self) -> Iterator[str]:
        if self.walk_after_s[0] > self.walk_after_s[1] or self.walk_after_s[1] == 0:
            yield "walk_after_s: give the shorter time first, and more than 0"


class Fault(Table, frozen=True, kw_only=True):
    """Something that happens to what phones send, in a window of the run, to a share of the drivers or in an area."""

    REST: ClassVar[str] = "params"
    NOT_READ: ClassVar[frozenset[str]] = frozenset({"wrong"})
    kind: str
    from_s: Seconds = 0.0
    #: None: to the end.
    until_s: Seconds | None = None
    share: Share = 1.0
    area: Area | None = None
    #: The kind's own members; simulator/phones/faults.py knows them.
    params: dict[str, object] = msgspec.field(default_factory=dict)
    #: Members that could not be read, and are left out here. Only a check meets a table that has some.
    wrong: frozenset[str] = frozenset()

    def problems(self) -> Iterator[str]:
        if self.until_s is not None and self.until_s <= self.from_s:
            yield "until_s: must be after from_s"


class RiderFault(Table, frozen=True, kw_only=True):
    """Something that happens to the connections of a share of the riders at a moment."""

    kind: Literal["slow", "half_open", "reconnect"]
    at_s: Seconds
    for_s: Seconds = 0.0
    share: Share = 1.0

    def problems(self) -> Iterator[str]:
        if self.kind != "reconnect" and self.for_s == 0:
            yield f"for_s: {self.kind} needs how long it lasts"


class Scenario(Table, frozen=True, kw_only=True):
    """One run, whole. `name` is the file's, `text` what it says, for the report."""

    NOT_READ: ClassVar[frozenset[str]] = frozenset({"name", "text"})
    name: str = ""
    text: str = ""
    title: str
    #: None: until it is stopped.
    duration_s: Annotated[float, Meta(gt=0, le=MOST_S)] | None = None
    seed: Annotated[int, Meta(ge=0)] = 0
    city: City = City()
    fleet: FleetPlan
    demand: Demand | None = None
    riders: RidersPlan = RidersPlan()
    faults: tuple[Fault, ...] = ()
    rider_faults: tuple[RiderFault, ...] = ()
    bounds: Bounds = Bounds()

    def problems(self) -> Iterator[str]:
        if self.demand and self.demand.trips is not None and self.duration_s is None and self.demand.until_s is None:
            yield "demand.trips: over what time? give demand.until_s or duration_s, or rate_per_min"
        if self.demand and self.duration_s is not None and self.demand.from_s >= self.duration_s:
            yield "demand.from_s: must be before duration_s"

    def never_begun(self) -> Iterator[str]:
        """Faults that the run ends before: a slip in a file, and no harm where the command line makes a run shorter."""
        if self.duration_s is None:
            return
        begins = [(f"faults[{number}].from_s", fault.from_s) for number, fault in enumerate(self.faults)]
        begins += [(f"rider_faults[{number}].at_s", fault.at_s) for number, fault in enumerate(self.rider_faults)]
        for path, from_s in begins:
            if from_s >= self.duration_s:
                yield f"{path}: must be before duration_s, or it never begins"

    def with_(
        self,
        drivers: int | None = None,
        riders: int | None = None,
        seed: int | None = None,
        duration_s: float | None = None,
    ) -> Scenario:
        """The same scenario with what the command line says instead. Raises ScenarioError."""
        asked = {"drivers": drivers, "riders": riders, "seed": seed, "duration_s": duration_s}
        least = {"drivers": 1, "riders": 0, "seed": 0, "duration_s": 0.001}
        # "not at least" and not "less than": a time may be nan.
        wrong = [
            f"{name} must be at least {least[name]:g}"
            for name, n in asked.items()
            if n is not None and not n >= least[name]
        ]
        if duration_s is not None and duration_s > MOST_S:
            wrong.append(f"duration_s must be at most {MOST_S:,.0f}")
        if wrong:
            raise ScenarioError(f"{self.name}: {'; '.join(wrong)}")
        replace = msgspec.structs.replace
        changed = replace(
            self,
            fleet=self.fleet if drivers is None else replace(self.fleet, drivers=drivers),
            riders=self.riders if riders is None else replace(self.riders, map=riders),
            seed=self.seed if seed is None else seed,
            duration_s=self.duration_s if duration_s is None else duration_s,
        )
        if wrong := list(changed.problems()):
            raise ScenarioError(f"{self.name}: {'; '.join(wrong)}")
        return changed

    def at(self, city: City) -> Scenario:
        """The same scenario in another city."""
        return msgspec.structs.replace(self, city=city)


class Draft(NamedTuple):
    """What could be read of a file, also where something is wrong with it: each of its tables, at its place."""

    faults: tuple[Fault, ...]


#: Judges what this module does not know, the kinds of faults: says what is wrong, `member: what to do`.
Check = Callable[[Draft], Iterable[str]]


def parse_scenario(text: str, name: str, folder: Path, checks: Iterable[Check] = ()) -> Scenario:
    """Read a scenario; paths in it are relative to `folder`. Raises ScenarioError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}.toml: is not TOML: {error}") from None
    problems: list[str] = []
    scenario = read_table(raw, Scenario, "", problems)
    if scenario is not None:
        problems.extend(scenario.never_begun())
    draft = Draft(tuple(map(_as_it_stands, faults if isinstance(faults := raw.get("faults"), list) else [])))
    problems.extend(problem for check in checks for problem in check(draft))
    if scenario is None or problems:
        raise ScenarioError(f"{name}.toml: {'; '.join(problems)}")
    return _placed(scenario, name, text, folder)


def _as_it_stands(raw: object) -> Fault:
    """As much of a fault's table as could be read; what is wrong with it has been said."""
    fault, wrong = read_what_can_be(raw, Fault, "", [])
    return Fault(kind="", wrong=wrong | {"kind"}) if fault is None else msgspec.structs.replace(fault, wrong=wrong)


def _placed(scenario: Scenario, name: str, text: str, folder: Path) -> Scenario:
    """With its name and text, and with paths that hold from where the user is."""
    replace = msgspec.structs.replace
    city, demand = scenario.city, scenario.demand
    if city.nodes:
        city = replace(city, nodes=str(folder / city.nodes), edges=str(folder / city.edges))
    if demand is not None and demand.file not in ("", "nyc"):
        demand = replace(demand, file=str(folder / demand.file))
    return replace(scenario, name=name, text=text, city=city, demand=demand)
