"""Play a scenario without a system, as one that shows the truth at once would let it go. No clock, no network."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.dispatch.dispatch import NoErrands
from simulator.staging.fingerprint import Fingerprint
from simulator.staging.ready import Ready
from simulator.staging.town import Town
from simulator.traces.trace import Recording

#: It is played in steps of this.
STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it."""

    drivers: int
    pings: int
    fingerprint: str
    #: None where nobody wanted to go anywhere.
    trips_requested: int | None
    trips_done: int | None

    def as_json(self) -> dict[str, object]:
        """For a program; docs/simulator.md lists its members."""
        return {
            "result": "recorded",
            "drivers": self.drivers,
            "pings": self.pings,
            "pings_sha256": self.fingerprint,
            "trips_requested": self.trips_requested,
            "trips_done": self.trips_done,
        }

    def words(self) -> str:
        """For a person."""
        trips = "" if self.trips_done is None else f"; {self.trips_done} of {self.trips_requested} trips done"
        return f"recorded {self.pings:,} pings of {self.drivers:,} drivers{trips}; fingerprint {self.fingerprint}"


def rehearse(ready: Ready, duration_s: float, start_ms: int, recording: Recording) -> Rehearsed:
    """Write down what would be posted in the first `duration_s`, from `start_ms` (epoch ms)."""
    scenario, fingerprint, pings = ready.scenario, Fingerprint(), 0
    town = Town(scenario, ready.roads)
    town.begin(start_ms)
    town.serve(NoErrands(), "rehearsal", ready.recorded)
    end_ms = start_ms + round(duration_s * 1_000)
    while town.next_due_ms < end_ms:
        sendings = town.advance(min(town.next_due_ms + STEP_MS, end_ms - 1))
        recording.write([sending.fix for sending in sendings])
        for sending in sendings:
            fingerprint.add(sending, start_ms)
        pings += len(sendings)
    dispatch = town.dispatch
    return Rehearsed(
        scenario.fleet.drivers,
        pings,
        fingerprint.hexdigest(),
        None if dispatch is None else dispatch.requested,
        None if dispatch is None else dispatch.done,
    )
