"""What the live map's stage shows of a run just now."""

from __future__ import annotations

from simulator.results.recorder import INGEST, SENT, Recorder
from simulator.riders.crowd import Crowd
from simulator.scenarios.scenario import Scenario
from simulator.staging.stage import Counters, Scene, TripUnderWay, WaitingRequest
from simulator.staging.town import Town
from simulator.staging.trip_errands import TripErrands


def scene_of(
    scenario: Scenario, town: Town, crowd: Crowd | None, errands: TripErrands | None, recorder: Recorder, now_ms: int
) -> Scene:
    """One moment of the run, at `now_ms` (epoch ms)."""
    dispatch, recent = town.dispatch, recorder.recent(now_ms)
    acked = recent.percentiles.get(INGEST)
    watching = (crowd.connected if crowd is not None else 0) + (errands.connected if errands is not None else 0)
    return Scene(
        scenario.title,
        now_ms,
        Counters(
            drivers=len(town.fleet.drivers),
            riders=watching,
            trips=0 if dispatch is None else dispatch.done,
            pings_per_s=round(recent.per_s.get(SENT, 0.0), 1),
            acked_p50_ms=None if acked is None else round(acked[0], 1),
            unserved=0 if dispatch is None else dispatch.unserved,
        ),
        []
        if dispatch is None
        else [
            WaitingRequest(call.place.lat, call.place.lon, round((now_ms - call.since_ms) / 1_000, 1))
            for call in dispatch.waiting
        ],
        []
        if dispatch is None
        else [
            TripUnderWay(ride.trip_id, ride.driver_id, ride.state, ride.approach, ride.route, ride.share_url)
            for ride in dispatch.under_way
            if ride.state
        ],
    )
