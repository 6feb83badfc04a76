"""What may go wrong in a run at most, and still be passed. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from simulator.scenarios.amounts import MOST_S, Count, Metres, Seconds
from simulator.scenarios.toml_tables import Table


class Bounds(Table, frozen=True, kw_only=True):
    """What may go wrong at most: findings by kind (simulator/counts/findings.py), and figures. More fails the run."""

    ghost: Count = 0
    missing: Count = 0
    backwards: Count = 0
    stale_shown_as_live: Count = 0
    position_error: Count = 0
    fix_altered: Count = 0
    trip_event_lost: Count = 0
    trip_event_doubled: Count = 0
    trip_event_out_of_order: Count = 0
    trip_event_late: Count = 0
    trip_event_false: Count = 0
    progress_error: Count = 0
    ping_unaccounted: Count = 0
    ping_lost: Count = 0
    ping_doubled: Count = 0
    wire: Count = 0
    rider_lost: Count = 0
    trip_failed: Count = 0
    latency: Count = 0
    #: From the moment a ping was due to the rider who is told. Generous: scenarios about latency set their own.
    latency_p99_ms: Annotated[float, Meta(gt=0, le=MOST_S)] = 5_000.0
    #: Against the truth when it is shown: GPS noise and the way since the fix.
    position_error_p99_m: Metres = 100.0
    #: The same, of the cars that riders of trips are shown. None: as the findings have it, and no figure.
    trip_position_error_p99_m: Metres | None = None
    #: From the ETAs that riders of trips are told to when their cars stood there. None: nobody promises how good.
    eta_error_p90_s: Annotated[float, Meta(gt=0, le=MOST_S)] | None = None
    #: For so long after a change nobody is blamed for what a rider is shown.
    settle_s: Seconds = 3.0
