"""Make a scenario ready to be played: read its roads and its requests, or say in one line all that is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from simulator.demand.recorded import Recorded, RequestsError, read_requests
from simulator.phones.faults import problems_of
from simulator.roads.network import RoadNetwork, RoadsError
from simulator.scenarios.city import holds_road, load_city
from simulator.scenarios.scenario import City, Draft, Scenario, ScenarioError
from simulator.scenarios.shipped import load_scenario
from simulator.staging.town import requests_of


@dataclass(frozen=True, slots=True)
class Ready:
    """A scenario with what it names. `recorded` is what its `demand.file` holds."""

    scenario: Scenario
    roads: RoadNetwork
    recorded: Sequence[Recorded]

    def as_json(self) -> dict[str, object]:
        """What would be played, for a program; docs/simulator.md lists its members."""
        scenario, demand = self.scenario, self.scenario.demand
        return {
            "scenario": scenario.name,
            "title": scenario.title,
            "seed": scenario.seed,
            "drivers": scenario.fleet.drivers,
            "riders": scenario.riders.map,
            "trips": demand.trips if demand is not None else 0,
            "trips_per_min": demand.rate_per_min if demand is not None else None,
            "duration_s": scenario.duration_s,
            "faults": _faults(scenario),
        }

    def words(self) -> str:
        """The same in one line for a person."""
        scenario = self.scenario
        faults = ", ".join(_faults(scenario)) or "none"
        return f"{scenario.name} can be played: {scenario.title} ({size(scenario)}; faults: {faults})"


def size(scenario: Scenario) -> str:
    """How large it is: `60 drivers, 15 riders, 20 trips, 75 s`."""
    time = "until stopped" if scenario.duration_s is None else f"{scenario.duration_s:g} s"
    return f"{scenario.fleet.drivers:,} drivers, {scenario.riders.map:,} riders, {_trips(scenario)}, {time}"


def _trips(scenario: Scenario) -> str:
    demand = scenario.demand
    if demand is None:
        return "no trips"
    if demand.trips is not None:
        return f"{demand.trips:,} trips"
    return "trips as in the file" if demand.rate_per_min is None else f"{demand.rate_per_min:g} trips a minute"


def _faults(scenario: Scenario) -> list[str]:
    """Each kind once, in the order of the file, of those that begin before the run ends."""
    end_s = inf if scenario.duration_s is None else scenario.duration_s
    kinds = [fault.kind for fault in scenario.faults if fault.from_s < end_s]
    kinds += [f"riders: {fault.kind}" for fault in scenario.rider_faults if fault.at_s < end_s]
    return list(dict.fromkeys(kinds))


def _problems(draft: Draft) -> Iterable[str]:
    return problems_of(draft.faults)


def read_scenario(name_or_path: str) -> Scenario:
    """A shipped scenario or one of the user's own, with faults that exist. Raises ScenarioError, OSError."""
    return load_scenario(name_or_path, [_problems])


def make_ready(scenario: Scenario, tables: Sequence[Path] | None = None) -> Ready:
    """Read what the scenario names; `tables`, nodes and edges, in place of its city. Raises ScenarioError."""
    problems: list[str] = []
    if tables:
        nodes, edges = map(str, tables)
        scenario = scenario.at(City(nodes=nodes, edges=edges))
    roads, recorded = _roads(scenario, bool(tables), problems), _recorded(scenario, problems)
    if roads is not None and recorded is not None:
        try:
            # Are there trips on these roads?
            requests_of(scenario, roads, recorded)
        except RequestsError as error:
            problems.append(str(error))
    if roads is not None:
        problems.extend(_off_the_roads(scenario, roads))
    if roads is None or recorded is None or problems:
        raise ScenarioError(f"{scenario.name}.toml: {'; '.join(problems)}")
    return Ready(scenario, roads, recorded)


def _roads(scenario: Scenario, are_an_option: bool, problems: list[str]) -> RoadNetwork | None:
    try:
        return load_city(scenario.city)
    except RoadsError as error:
        words = str(error)
        problems.append(f"--roads: {words.partition(': ')[2]}" if are_an_option else words)
        return None


def _off_the_roads(scenario: Scenario, roads: RoadNetwork) -> Iterable[str]:
    for number, fault in enumerate(scenario.faults):
        if fault.area is not None and not holds_road(roads, fault.area):
            yield f"faults[{number}].area: holds no road of this city, so no phone meets it; move it or make it larger"


def _recorded(scenario: Scenario, problems: list[str]) -> Sequence[Recorded] | None:
    file = scenario.demand.file if scenario.demand is not None else ""
    try:
        return read_requests(file) if file else ()
    except RequestsError as error:
        problems.append(f"demand.file: {error}")
    except OSError as error:
        problems.append(f"demand.file: {error.filename or file}: {error.strerror or error}")
    return None
