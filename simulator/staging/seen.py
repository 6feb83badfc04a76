"""What can be seen of a run that goes on: the live view, the map's stage, and the facts for its report."""

from __future__ import annotations

import time
from dataclasses import dataclass

from infra.clock import WallClock
from simulator.counts.tally import Tally
from simulator.posting.emitter import Emitter
from simulator.results import screen
from simulator.results.recorder import Recorder
from simulator.riders.crowd import Crowd
from simulator.scenarios.scenario import Scenario
from simulator.staging.judgement import Judgement
from simulator.staging.scene import scene_of
from simulator.staging.stage import Scene
from simulator.staging.town import Town
from simulator.staging.trip_errands import TripErrands

wall_ms = WallClock().now_ms


@dataclass(frozen=True, slots=True)
class Seen:
    """Looks at the parts of one run."""

    scenario: Scenario
    town: Town
    tally: Tally
    recorder: Recorder
    judgement: Judgement
    crowd: Crowd | None
    errands: TripErrands | None
    emitter: Emitter

    def glance(self) -> screen.Glance:
        """For the terminal."""
        dispatch, words = self.town.dispatch, {}
        if dispatch is not None:
            words["trips"] = (
                f"{len(dispatch.under_way)} under way, {dispatch.done} done, {len(dispatch.waiting)} waiting"
            )
        if self.emitter.trouble:
            words["ingest"] = f"takes no pings ({self.emitter.trouble})"
        if self.crowd is not None and self.crowd.away:
            words["away"] = self.crowd.away
        elapsed_s, duration_s = time.time() - self.recorder.start_ms / 1_000, self.scenario.duration_s
        return screen.glance(
            self.recorder,
            self.tally,
            wall_ms(),
            self.scenario.title,
            duration_s,
            self.judgement.verdicts(self.crowd, elapsed_s if duration_s is None else min(elapsed_s, duration_s)),
            words,
        )

    def scene(self) -> Scene:
        """For the live map."""
        now_ms = wall_ms()
        return scene_of(self.scenario, self.town, self.crowd, self.errands, self.recorder, now_ms)

    def riders(self) -> dict[str, object]:
        """Facts of the map riders."""
        if self.crowd is None:
            return {}
        oracle = self.judgement.nearby
        return {
            **self.crowd.summary(),
            "screens_judged": oracle.screens_judged,
            "sweeps_skipped": oracle.sweeps_skipped,
        }

    def trips(self) -> dict[str, object]:
        """Facts of the trips."""
        dispatch, errands, oracle = self.town.dispatch, self.errands, self.judgement.trips
        if dispatch is None or errands is None:
            return {}
        return {
            "requested": dispatch.requested,
            "done": dispatch.done,
            "unserved": dispatch.unserved,
            "abandoned": dispatch.abandoned,
            "unconfirmed": dispatch.unconfirmed,
            "unshown": dispatch.unshown,
            "failed": errands.failed,
            "judged": oracle.judged,
            "events": oracle.events,
            "track_fixes": oracle.fixes,
            "riders_cut": errands.cut,
            "event_ms": oracle.event_ms.summary(),
            "position_error_m": oracle.position_error_m.summary(),
            "way_error_m": oracle.way_error_m.summary(),
            "eta_error_s": oracle.eta_error_s.summary(),
        }
