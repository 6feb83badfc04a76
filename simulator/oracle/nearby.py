"""The oracle of the live map: was each car that a rider was told of rightly shown, and is each screen right now? Pure.

`told` hears of every car of every message and judges what can be known at once: that the phone sent this fix, to be
shown, from this place, and that the message agrees with itself about its age. Once a second all screens are looked at,
some at a time (`looks`), and judged by time and truth for what is on them, and what is not. docs/oracle.md has the
rules and margins.

The oracle does not blame for what may be news on its way: everything is held against what was accepted `settle_ms` ago,
and only screens that have been connected and reading for so long are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from simulator.counts.findings import Finding, Findings, Kind
from simulator.counts.latency import Latencies
from simulator.oracle.accusations import Accusation, Evidence, missing, wrongly_shown
from simulator.oracle.attributes import Told, altered, cell_of
from simulator.oracle.promises import Promises
from simulator.oracle.reach import Fleet, Ints
from simulator.oracle.screens import STRANGER, Screens
from simulator.oracle.sphere import Floats, apart_m, distance_m, unit_vectors
from simulator.oracle.truth import Truth
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, SeenCar

#: A place on the wire is the one that was sent; this much is for decimals that a system may drop (6 of them: 0.1 m).
ROUNDING_M = 1.0
#: Metres and milliseconds are counted in tenths, rounded up.
TENTHS = 10


#: So many screens are judged without letting anything else happen: 5 ms, of the 50 that a thousand take.
SEATS_A_LOOK = 100


class Sweep(NamedTuple):
    """What one look at screens measured, for plots: one value for each car that is shown as live."""

    screens: int
    position_error_m: Floats
    age_ms: Ints


NOTHING = Sweep(0, np.zeros(0), np.zeros(0, dtype=np.int64))


class NearbyOracle:
    """Judges what map riders see against `truth`, and notes what is wrong in `findings`."""

    def __init__(self, truth: Truth, findings: Findings, promises: Promises) -> None:
        self._truth, self._findings, self._promises = truth, findings, promises
        #: Cars told, in all messages.
        self.shown = 0
        #: Screens looked at, and sweeps left out because the simulator itself had stood still.
        self.screens_judged = self.sweeps_skipped = 0
        #: Metres from each car shown as live to where it truly is, at the moment of each sweep: what a rider sees.
        self.position_error_m = Latencies()
        #: Metres from the same markers to the newest fix that the phone has sent: the system's share of that error.
        self.behind_m = Latencies()
        #: Milliseconds since the fixes that they show.
        self.age_ms = Latencies()
        self.farthest: Finding | None = None
        self._farthest_m = 0.0
        #: Of each driver what was told last and found right. Ten riders are told the same.
        self._believed: dict[str, Told] = {}
        #: And in which message; riders who are told the same in the same tick share the object (riders/reading.py).
        self._fine: dict[str, tuple[SeenCar, int]] = {}
        #: What was held against whom at the last look at each seat: (kind, driver) by seat.
        self._held: dict[int, set[tuple[Kind, str]]] = {}
        self._swept_ms: int | None = None

    def told(self, seat: Seat, car: SeenCar, server_time_ms: int, at_ms: int) -> None:
        """A rider was told of `car` in a message of `server_time_ms` that came at `at_ms`."""
        self.shown += 1
        fine = self._fine.get(car.driver_id)
        if fine is not None and fine[0] is car and fine[1] == server_time_ms:
            return
        fix_time_ms = car.fix_time_ms
        heading, speed, accuracy = car.heading_deg, car.speed_mps, car.accuracy_m
        told = (fix_time_ms, car.lat, car.lon, car.cell, heading, speed, accuracy, car.vehicle_type)
        believed = self._believed.get(car.driver_id) == told
        if not believed and self._check_fix(seat, car, at_ms):
            self._believed[car.driver_id], believed = told, True
        age_ms = server_time_ms - fix_time_ms
        stale = age_ms >= self._promises.stale_after_ms
        if (
            (car.freshness != "live") is not stale
            or age_ms >= self._promises.gone_after_ms
            or (age_ms != car.age_ms and (age_ms >= 0 or car.age_ms != 0))
        ):
            self._check_age(seat, car, server_time_ms, at_ms)
        elif believed:
            self._fine[car.driver_id] = car, server_time_ms

    def broken(self, seat: Seat, broken: Broken, at_ms: int) -> None:
        """The rider's view found that the wire broke a promise."""
        backwards = {"backwards_ms": broken.backwards_ms} if broken.backwards_ms else {}
        kind = Kind.BACKWARDS if backwards else Kind.WIRE
        self._findings.note(kind, at_ms, seat.rider, broken.driver_id, why=broken.what, **backwards)

    def _check_fix(self, seat: Seat, car: SeenCar, at_ms: int) -> bool:
        """Did this phone send this fix, as it is told, and was it to be shown?"""
        note, promises, fix_time_ms = self._findings.note, self._promises, car.fix_time_ms
        number = self._truth.number.get(car.driver_id)
        if number is None:
            if promises.alone and fix_time_ms >= promises.start_ms:
                why = "nobody of this fleet has this id"
                note(Kind.GHOST, at_ms, seat.rider, car.driver_id, why=why, fix_time_ms=fix_time_ms)
            return False
        sent = self._truth.was_sent(number, fix_time_ms)
        if sent is None:
            # A run before this one may have had the same ids; its fixes leave the map by their age.
            if fix_time_ms >= promises.start_ms and at_ms - fix_time_ms < promises.gone_after_ms:
                why = "its phone sent no fix of this time"
                note(Kind.GHOST, at_ms, seat.rider, car.driver_id, why=why, fix_time_ms=fix_time_ms)
            return False
        if sent.reason is not None or sent.expect != "shown":
            if sent.reason is not None:
                why = f"ingest rejected this fix: {sent.reason}"
            else:
                why = f"this fix must not be shown: {sent.expect}"
            evidence = {"honest": sent.honest, "sent_ms": sent.sent_ms, "judged_ms": sent.judged_ms}
            note(Kind.GHOST, at_ms, seat.rider, car.driver_id, why=why, fix_time_ms=fix_time_ms, **evidence)
            return False
        moved_m = distance_m(sent.lat, sent.lon, car.lat, car.lon)
        if moved_m > ROUNDING_M:
            why = "not where its phone said it was"
            places = {"shown_at": (car.lat, car.lon), "sent_from": (sent.lat, sent.lon), "apart_m": moved_m}
            note(Kind.POSITION_ERROR, at_ms, seat.rider, car.driver_id, why=why, fix_time_ms=fix_time_ms, **places)
            return False
        changed = altered(sent, car)
        if car.cell != cell_of(sent):
            changed |= {"cell": car.cell, "cell_sent": cell_of(sent)}
        if changed:
            why = "not what its phone said"
            note(Kind.FIX_ALTERED, at_ms, seat.rider, car.driver_id, why=why, fix_time_ms=fix_time_ms, **changed)
        return not changed

    def _check_age(self, seat: Seat, car: SeenCar, server_time_ms: int, at_ms: int) -> None:
        """The message contradicts itself about how old the car is."""
        age_ms = server_time_ms - car.fix_time_ms
        times = {"fix_time_ms": car.fix_time_ms, "server_time_ms": server_time_ms, "freshness": car.freshness}
        if age_ms >= self._promises.gone_after_ms:
            kind, why = Kind.GHOST, f"told of when its fix was {age_ms} ms old: it was gone"
        elif car.freshness == "live" and age_ms >= self._promises.stale_after_ms:
            kind, why = Kind.STALE_AS_LIVE, f"told as live when its fix was {age_ms} ms old"
        elif car.freshness != "live" and age_ms < self._promises.stale_after_ms:
            kind, why = Kind.WIRE, f"told as {car.freshness} when its fix was {age_ms} ms old"
        else:
            kind, why = Kind.WIRE, f"age_ms is {car.age_ms} when its fix was {age_ms} ms old"
        self._findings.note(kind, at_ms, seat.rider, car.driver_id, why=why, **times)

    def looks(self, seats: Sequence[Seat], now_ms: Callable[[], int]) -> Iterator[Sweep]:
        """Judge all screens, `SEATS_A_LOOK` at a time, those of each look as they are by then: between two looks
        whoever iterates may let the riders read on."""
        # From south to north, because neighbours are shown the same cars.
        seats = sorted(seats, key=lambda seat: seat.lat)
        for first in range(0, len(seats), SEATS_A_LOOK):
            skipped = self.sweeps_skipped
            yield self.sweep(seats[first : first + SEATS_A_LOOK], now_ms())
            if self.sweeps_skipped > skipped:
                return

    def sweep(self, seats: Sequence[Seat], now_ms: int) -> Sweep:
        """Judge these screens as they are at `now_ms`. Each case is noted once for as long as it lasts."""
        promises, before_ms, self._swept_ms = self._promises, self._swept_ms, now_ms
        if before_ms is not None and now_ms - before_ms > promises.sweep_ms + promises.settle_ms / 2:
            # Nobody read the riders' sockets meanwhile: what their screens lack is our own fault.
            self.sweeps_skipped += 1
            return NOTHING
        held = {id(seat): self._held.pop(id(seat), set()) for seat in seats}
        judged = [
            seat
            for seat in seats
            if seat.settled_since_ms is not None and now_ms - seat.settled_since_ms >= promises.settle_ms
        ]
        if not judged:
            return NOTHING
        self.screens_judged += len(judged)
        screens = Screens(judged, self._truth.number)
        fleet = Fleet(self._truth.settled(now_ms, promises.settle_ms), self._truth.newest(), promises.max_speed_mps)
        accusations = chain(
            wrongly_shown(screens, fleet, promises, now_ms),
            missing(screens, fleet, promises, now_ms, self._truth.driver_ids),
        )
        self._hold(accusations, judged, held, now_ms)
        return self._measure(screens, fleet, now_ms)

    def _hold(
        self,
        accusations: Iterable[Accusation],
        seats: Sequence[Seat],
        before: dict[int, set[tuple[Kind, str]]],
        now_ms: int,
    ) -> None:
        """Note what was not held against the same car on the same screen at the last look."""
        for kind, why, rows, driver_ids, evidence in accusations:
            for n, (row, driver_id) in enumerate(zip(rows, driver_ids, strict=True)):
                seat = seats[row]
                self._held.setdefault(id(seat), set()).add((kind, driver_id))
                if (kind, driver_id) not in before[id(seat)]:
                    kept = {} if self._findings.is_full(kind) else self._with_acceptance(evidence(n), driver_id, now_ms)
                    self._findings.note(kind, now_ms, seat.rider, driver_id, why=why, **kept)

    def _with_acceptance(self, evidence: Evidence, driver_id: str, now_ms: int) -> Evidence:
        """And how long ago ingest accepted the fix that must be known: by how much more than `settle_ms` it is late."""
        number = self._truth.number.get(driver_id)
        fix_time_ms = evidence.get("newer_fix_time_ms", evidence["fix_time_ms"])
        sent = (
            self._truth.was_sent(number, fix_time_ms) if number is not None and isinstance(fix_time_ms, int) else None
        )
        if sent is None or sent.judged_ms is None:
            return evidence
        return {**evidence, "accepted_ago_ms": now_ms - sent.judged_ms}

    def _measure(self, screens: Screens, fleet: Fleet, now_ms: int) -> Sweep:
        """How far from the truth, and how old, all cars of this fleet are that are shown as live."""
        rows = np.flatnonzero(screens.live & (screens.driver != STRANGER))
        rows = rows[fleet.newest.fix_time_ms[screens.driver[rows]] > 0]
        drivers, place_of = np.unique(screens.driver[rows], return_inverse=True)
        places = [self._truth.where(driver, now_ms) or (np.nan, np.nan) for driver in drivers.tolist()]
        true_lat, true_lon = np.array(places, dtype=np.float64).reshape(-1, 2).T
        error_m = apart_m(screens.vectors[rows], unit_vectors(true_lat, true_lon)[place_of])
        known = ~np.isnan(error_m)
        error_m, rows = error_m[known], rows[known]
        age_ms = np.maximum(0, now_ms - screens.fix_time_ms[rows])
        count_tenths(self.position_error_m, error_m)
        count_tenths(self.behind_m, apart_m(screens.vectors[rows], fleet.newest_vectors[screens.driver[rows]]))
        count_tenths(self.age_ms, age_ms.astype(np.float64))
        if len(rows) and error_m.max() > self._farthest_m:
            worst = int(error_m.argmax())
            self._farthest_m = float(error_m[worst])
            self.farthest = self._case(screens, int(rows[worst]), now_ms, self._farthest_m)
        return Sweep(len(screens.seats), error_m, age_ms)

    def _case(self, screens: Screens, row: int, now_ms: int, error_m: float) -> Finding:
        car, seat = screens.cars[row], screens.seats[int(screens.seat[row])]
        evidence: dict[str, object] = {
            "why": "farthest from where the car truly is",
            "error_m": error_m,
            "fix_time_ms": car.fix_time_ms,
            "age_ms": now_ms - car.fix_time_ms,
            "shown_at": (car.lat, car.lon),
            "truly_at": self._truth.where(int(screens.driver[row]), now_ms),
        }
        return Finding(Kind.POSITION_ERROR, now_ms, seat.rider, car.driver_id, evidence)


def count_tenths(histogram: Latencies, values: Floats) -> None:
    """Count many at once, rounded up to tenths: a histogram of tenths has far fewer values than there are cars."""
    tenths, times = np.unique(np.ceil(values * TENTHS), return_counts=True)
    for tenth, many in zip(tenths.tolist(), times.tolist(), strict=True):
        histogram.add(tenth / TENTHS, many)
