"""Who plays a scenario: its emitter, map riders, dispatch errands and their tokens, each with its own chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from simulator.counts.latency import Latencies
from simulator.counts.tally import Tally
from simulator.dispatch.trip_desk import TripDesk
from simulator.posting.departures import Departures
from simulator.posting.emitter import Emitter, Hear
from simulator.riders.crowd import Crowd
from simulator.riders.faults import plan
from simulator.riders.map_rider import Habits
from simulator.riders.seat import Seat
from simulator.riders.trip_view import TripView
from simulator.riders.view import Broken
from simulator.runs import wires as runs
from simulator.scenarios.scenario import Scenario
from simulator.staging.judgement import Judgement
from simulator.staging.trip_errands import TripErrands

#: Trips whose riders share a link at a time, for the map's corner.
SHARED = 3
#: Mishaps are drawn for so many riders of trips; those of later trips have the same again.
TRIP_RIDERS = 1_000


@dataclass(frozen=True, slots=True)
class Wires(runs.Wires):
    """And push's reads, each service's metrics, and the tokens of dispatch and of whoever reads every trip."""

    reads_url: str
    metrics_urls: dict[str, str]
    dispatch: Callable[[], str]
    reader: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Manner(runs.Manner):
    """And what to show, and who else is there."""

    #: On which port to show the live map a stage, and to which pages; None: not.
    stage_port: int | None = None
    stage_origins: tuple[str, ...] = ()
    #: No other cars are in the system.
    alone: bool = False


def new_emitter(scenario: Scenario, wires: Wires, manner: Manner, tally: Tally, hear: Hear) -> Emitter:
    """Posts what phones send; `hear` hears the verdicts."""
    backoff = Random(f"{scenario.seed}/backoff")  # noqa: S311 - a simulation must repeat
    return Emitter(wires.ingest_url, wires.fleet, backoff, tally, manner.lanes, manner.post_max, hear)


def new_crowd(
    scenario: Scenario,
    wires: Wires,
    _: Manner,
    places: Sequence[tuple[float, float]],
    departures: Departures,
    on_latency: Callable[[Latencies, int], None],
    on_broken: Callable[[Seat, Broken, int], None],
) -> Crowd:
    """The riders who watch the map, at some of `places` (lat, lon)."""
    riders, seed = scenario.riders, scenario.seed
    return Crowd(
        wires.stream_url,
        lambda number: wires.rider(f"simulator-rider-{number}"),
        riders.map,
        places,
        Random(f"{seed}/riders"),  # noqa: S311 - a simulation must repeat
        departures,
        Habits(riders.radius_m, riders.limit, riders.walk_after_s),
        plan(scenario.rider_faults, riders.map, seed),
        on_latency=on_latency,
        on_broken=on_broken,
    )


def new_errands(scenario: Scenario, wires: Wires, manner: Manner, judgement: Judgement, start_ms: int) -> TripErrands:
    """Dispatch's errands over the wire, and a rider for each trip."""
    seed = scenario.seed
    retries, riders = (Random(f"{seed}/{name}") for name in ("desk", "trip-riders"))  # noqa: S311
    mishaps = plan(scenario.rider_faults, TRIP_RIDERS, seed + 1)
    return TripErrands(
        TripDesk(wires.ingest_url, wires.reads_url, wires.dispatch, wires.reader, retries),
        judgement.trips,
        lambda trip_id: TripView(trip_id, judgement.findings),
        wires.stream_url,
        wires.rider,
        riders,
        start_ms,
        mishaps=lambda number: mishaps[number % TRIP_RIDERS],
        on_nearby=judgement.answered,
        shared=SHARED if manner.stage_port is not None else 0,
    )
