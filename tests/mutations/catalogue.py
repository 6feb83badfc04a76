"""The mutations: ways to break the system, and for each the verdict that must name it. Data.

A mutation is what a plausible bug does, not what a saboteur would. Where a promise is kept in two places, both are
broken, because one alone is not seen by anybody; the comments say so.
"""

from __future__ import annotations

from tests.mutations.edits import Edit, Mutation
from tests.mutations.worlds import BORDER, LATE, LIES, LOSSY_KAFKA, LOSSY_PUBSUB, RIDES, RIM, SILENCE, STOPS

#: push's own rule that nothing older is shown than was shown: with it, no other mistake lets a marker go back.
_NO_HIGH_WATER = Edit("push/mirror.py", "car.fix_time_ms < driver.high_water_ms or now_ms", "now_ms")

MUTATIONS = (
    # --- time ------------------------------------------------------------------------------------------------------
    Mutation(
        "no_eviction",
        "silent drivers are never removed from the index, nor hidden by push",
        SILENCE,
        "ghost",
        (
            Edit(
                "stream/handlers.py",
                "self._metrics.evicted += await self._index.evict_all(by_region)",
                "self._metrics.evicted += len(by_region)",
            ),
            # push hides who is gone by itself, so that a dead worker leaves no car on the map.
            Edit(
                "push/mirror.py",
                "driver.high_water_ms or now_ms - car.fix_time_ms >= self._gone_after_ms:",
                "driver.high_water_ms:",
            ),
        ),
    ),
    Mutation(
        "clock_of_the_phones",
        "push takes the newest fix of all phones for the time that it is",
        SILENCE,
        "stale_shown_as_live",
        (
            Edit(
                "push/mirror.py",
                "now_ms = self._now_ms = max(now_ms, self._now_ms)",
                "times = [each.car.fix_time_ms for each in self._drivers.values() if each.car is not None]\n"
                "        now_ms = self._now_ms = max([self._now_ms, *times])",
            ),
        ),
    ),
    Mutation(
        "deadline_forgotten",
        "a car turns stale only when something else is to be told of it",
        SILENCE,
        "stale_shown_as_live",
        (Edit("push/mirror.py", "        if due_ms < driver.due_ms:\n", "        if due_ms < 0:\n"),),
    ),
    Mutation(
        "trip_deadline_forgotten",
        "the rider of a trip is never told that the car's phone has fallen silent",
        SILENCE,
        "stale_shown_as_live",
        (
            Edit(
                "push/trip_mirror.py",
                "if due_ms is not None and due_ms < copy.due_ms:",
                "if due_ms is not None and due_ms < 0:",
            ),
        ),
    ),
    Mutation(
        "time_of_arrival",
        "ingest writes down when a ping came, not when its fix was taken",
        LIES,
        "ghost",
        (
            Edit(
                "ingest/admission.py",
                "        driver_id,\n        ping.fix_time_ms,\n",
                "        driver_id,\n        received_at_ms,\n",
            ),
        ),
    ),
    # --- order and repetition --------------------------------------------------------------------------------------
    Mutation(
        "arrival_order",
        "the fix that comes last counts, not the one that was taken last",
        LATE,
        "backwards",
        (
            Edit(
                "stream/positions.py",
                "if fix_time_ms <= newest.fix_time_ms:",
                "if fix_time_ms == newest.fix_time_ms:",
            ),
            Edit("push/mirror.py", "driver.car is None or car.fix_time_ms >= driver.car.fix_time_ms:", "True:"),
            _NO_HIGH_WATER,
        ),
    ),
    Mutation(
        "backfill_lost",
        "of the fixes that come late only the newest joins the track of a trip",
        LATE,
        "ping_lost",
        (
            Edit("stream/trips.py", "state.join(fixes)", "state.join([live])"),
            # At each change of a trip it is joined once more with what its driver's phone sent lately.
            Edit(
                "stream/trip_state.py",
                "        self.join(recent)\n        if self.drive.move_to_newest(recent):",
                "        if self.drive.move_to_newest(recent):",
            ),
        ),
    ),
    Mutation(
        "repeated_ping_kept",
        "a fix that is sent again is kept again: the track is a list where it was a set",
        LATE,
        "ping_doubled",
        (
            Edit("stream/track.py", "if _content(fix) >= _content(self._fix(at)):", "if False:"),
            Edit(
                "stream/trip_index.py",
                "(fix.fix_time_ms, pack_fix(fix)) for fix in write.fixes",
                '(__import__("uuid").uuid4().hex, pack_fix(fix)) for fix in write.fixes',
            ),
        ),
    ),
    Mutation(
        "events_not_deduplicated",
        "an event that is written again is logged again",
        LATE,
        "trip_event_doubled",
        (
            Edit(
                "stream/trip_index.py",
                "if redis.call('HSETNX', KEYS[3], ARGV[i], offset + 1) == 1 then",
                "if redis.call('HSET', KEYS[3], ARGV[i], offset + 1) >= 0 then",
            ),
        ),
    ),
    Mutation(
        "events_conflated",
        "of events that come together a rider is told the newest, as with positions",
        STOPS,
        "trip_event_lost",
        (Edit("push/trip_outbox.py", "entries = entries[:EVENTS_AT_ONCE]", "entries = entries[-1:]"),),
    ),
    Mutation(
        "events_newest_first",
        "events that come together are told newest first",
        STOPS,
        "trip_event_out_of_order",
        (
            Edit(
                "push/trip_outbox.py",
                "self.view.events(shown, entries, self.offset,",
                "self.view.events(shown, entries[::-1], self.offset,",
            ),
        ),
    ),
    Mutation(
        "resumed_too_far",
        "a rider's app that comes back is told what follows the first event that it missed",
        LATE,
        "trip_event_lost",
        (
            Edit(
                "push/trip_outbox.py",
                "            after = recover[1]\n",
                "            after = min(recover[1] + 1, shown.offset)\n",
            ),
        ),
    ),
    Mutation(
        "shown_after_the_end",
        "a rider goes on seeing the driver when the trip is over",
        LATE,
        "ghost",
        (
            # Two rooms keep this promise: stream takes the car away, and push does not show it.
            Edit("stream/trip_state.py", "car_gone=ended or self.drive.held", "car_gone=self.drive.held"),
            Edit(
                "push/trip_mirror.py",
                "if car is None or trip.ended or car.assignment",
                "if car is None or car.assignment",
            ),
        ),
    ),
    # --- loss ------------------------------------------------------------------------------------------------------
    Mutation(
        "ack_before_kafka",
        "ingest answers 202 at once, and does not wait for Kafka",
        LOSSY_KAFKA,
        "ping_lost",
        (
            Edit(
                "ingest/routes.py",
                "                self._producer.send(admitted, acknowledged)\n",
                "                self._producer.send(admitted, lambda acked: None)\n"
                "                acknowledged(True)\n",
            ),
        ),
    ),
    Mutation(
        "gap_ignored",
        "push goes on after a gap in a region's sequence",
        LOSSY_PUBSUB,
        "ghost",
        (
            Edit(
                "push/mirror.py",
                "        if not _follows(copy, delta):\n            copy.buffer = ",
                "        if False:\n            copy.buffer = ",
            ),
        ),
    ),
    # --- whose screen shows what -----------------------------------------------------------------------------------
    Mutation(
        "leave_dropped",
        "a rider is not told that a car has left",
        RIM,
        "ghost",
        (
            Edit(
                "push/outbox.py",
                "update_tail(bodies(batch.enter, now_ms), moved, batch.leave)",
                "update_tail(bodies(batch.enter, now_ms), moved, [])",
            ),
        ),
    ),
    Mutation(
        "walked_away",
        "a rider who looks elsewhere is not told to forget the cars of where it was",
        RIM,
        "ghost",
        (
            Edit(
                "push/outbox.py",
                "self._add(Batch(enter, [], [driver_id for driver_id in before if driver_id not in after]))",
                "self._add(Batch(enter, [], []))",
            ),
        ),
    ),
    Mutation(
        "cells_by_their_centre",
        "a circle is covered with the cells that lie wholly in it",
        RIM,
        "missing",
        (
            Edit(
                "push/cover.py",
                "if far_m - 2 * _slack(each, slack_m) <= radius_m}",
                "if far_m <= radius_m}",
            ),
        ),
    ),
    Mutation(
        # As long as anybody looks from over there, push has that region, and answers from it too: nothing is missing.
        "region_next_door",
        "a circle that reaches into another region is answered from its own region alone",
        BORDER,
        "missing",
        (
            Edit(
                "push/cover.py",
                "frozenset(region_of(cell) for cell in cells)",
                "frozenset({region_of(next(iter(cells)))})",
            ),
        ),
    ),
    Mutation(
        "rank_cut_short",
        "a query in a crowd hears only of what moves within half its reach",
        RIM,
        "missing",
        (
            Edit(
                "push/crowds.py",
                "(reach_m + SLACK_M) / EARTH_RADIUS_M",
                "reach_m / 2 / EARTH_RADIUS_M",
            ),
        ),
    ),
    Mutation(
        "positions_rounded",
        "the index keeps four decimals of a degree",
        RIM,
        "position_error",
        (
            Edit(
                "stream/regions.py",
                "        fix.lat,\n        fix.lon,\n        cell,\n",
                "        round(fix.lat, 4),\n        round(fix.lon, 4),\n        cell,\n",
            ),
        ),
    ),
    Mutation(
        "nearby_empty",
        "GET /v1/nearby knows no cars, so that dispatch finds none and no trip is ever made",
        STOPS,
        "missing",
        (
            Edit(
                "push/reads.py",
                "settings.stale_after_ms, settings.gone_after_ms)\n        body",
                "settings.stale_after_ms, settings.gone_after_ms)[:0]\n        body",
            ),
        ),
    ),
    Mutation(
        "false_headings",
        "every car heads north at 99 m/s and is a truck",
        LIES,
        "fix_altered",
        (
            Edit(
                "stream/regions.py",
                "        fix.heading_deg,\n        fix.speed_mps,\n        fix.vehicle_type,\n",
                '        0.0,\n        99.0,\n        "TRUCK",\n',
            ),
        ),
    ),
    Mutation(
        "headings_in_eighths",
        "push tells headings to the nearest 45 degrees",
        RIM,
        "fix_altered",
        (
            Edit(
                "push/protocol.py",
                "            car.heading_deg,\n            car.speed_mps,\n",
                "            car.heading_deg and round(car.heading_deg / 45) * 45 % 360,\n            car.speed_mps,\n",
            ),
        ),
    ),
    Mutation(
        "nearby_farthest_first",
        "GET /v1/nearby tells the cars in the order of their distance, the farthest first",
        RIDES,
        "wire",
        (
            Edit(
                "push/glance.py",
                "for _, _, marker in sorted(near)[: query.limit]]",
                "for _, _, marker in sorted(near)[: query.limit][::-1]]",
            ),
        ),
    ),
    Mutation(
        "trips_refused",
        "only drivers may order trips, so that dispatch makes none",
        RIDES,
        "trips_judged",
        (
            Edit(
                "ingest/trips_api.py",
                "            actor = self._actor(headers, DISPATCH)\n",
                "            actor = self._actor(headers, DRIVER)\n",
            ),
        ),
    ),
    # --- how a trip goes -------------------------------------------------------------------------------------------
    Mutation(
        "false_promises",
        "the rider of a trip is told five times the way that remains, and nine times the time",
        RIDES,
        "progress_error",
        (
            Edit(
                "stream/drives.py",
                "car, leg=leg.name, remaining_m=remaining_m, eta_s=eta_s, route_m",
                "car, leg=leg.name, remaining_m=remaining_m * 5, eta_s=eta_s and eta_s * 9, route_m",
            ),
        ),
    ),
    Mutation(
        "way_not_shortened",
        "what remains of a way is the whole way, however much of it is behind the car",
        RIDES,
        "progress_error",
        (Edit("stream/drives.py", "max(leg.end_m - match.at_m, 0.0)", "(leg.end_m - leg.begin_m)"),),
    ),
    Mutation(
        "eta_never_changes",
        "the first ETA of a trip is told until its end",
        RIDES,
        "eta_error_p90_s",
        (
            Edit(
                "stream/drives.py",
                "            eta_s = self.pace.eta_s(remaining_m, rules.default_speed_mps)\n",
                "            eta_s = self._first_eta_s = getattr(\n"
                '                self, "_first_eta_s", self.pace.eta_s(remaining_m, rules.default_speed_mps)\n'
                "            )\n",
            ),
        ),
    ),
    Mutation(
        "eta_without_its_fix",
        "the time of arrival is the seconds until then, and not the fix's time and these",
        RIDES,
        "wire",
        (
            Edit(
                "push/trip_messages.py",
                "car.fix_time_ms + round(car.eta_s * 1_000)",
                "round(car.eta_s * 1_000)",
            ),
        ),
    ),
    Mutation(
        "arrived_too_soon",
        "a car has arrived within twice the radius",
        RIDES,
        "trip_event_false",
        (
            Edit(
                "stream/arrivals.py",
                "if distance_m <= arrival_radius_m else 0",
                "if distance_m <= 2 * arrival_radius_m else 0",
            ),
        ),
    ),
    Mutation(
        "arrived_too_late",
        "a car has arrived when 600 of its fixes in a row are within the radius",
        RIDES,
        "trip_event_lost",
        (Edit("stream/arrivals.py", "if self.inside >= AGREEING_FIXES:", "if self.inside >= 600:"),),
    ),
    # --- what a trip's rider is told in time -----------------------------------------------------------------------
    Mutation(
        "trip_positions_seldom",
        "the rider of a trip is told where the car is only every twelve seconds, just before it would be stale",
        RIDES,
        "position_error",
        (
            Edit(
                "push/trip_outbox.py",
                "if positions and shown.car is not None and shown.car != self._car:",
                "if positions and shown.car is not None and (\n"
                "            self._car is None or shown.car.fix_time_ms >= self._car.fix_time_ms + 12_000\n"
                "        ):",
            ),
        ),
    ),
    Mutation(
        "trip_events_late",
        "the rider of a trip is told its events ten seconds late, but for its end",
        RIDES,
        "trip_event_late",
        (
            Edit(
                "push/trip_outbox.py",
                "        if entries or mark > self._mark:\n",
                "        held = entries and not shown.trip.ended and now_ms < entries[-1].event.at_ms + 10_000\n"
                "        if (entries or mark > self._mark) and not held:\n",
            ),
        ),
    ),
    # --- what is believed ------------------------------------------------------------------------------------------
    Mutation(
        "leaps_believed",
        "a car may drive at any speed",
        LIES,
        "ghost",
        (
            Edit(
                "stream/positions.py",
                "    return bool(h3.great_circle_distance((before.lat, before.lon), (after.lat, after.lon), "
                'unit="m") <= reach_m)',
                "    return True",
            ),
        ),
    ),
    Mutation(
        "mocks_accepted",
        "positions that another app made up are accepted",
        LIES,
        "ping_unaccounted",
        (Edit("ingest/admission.py", "if ping.is_mock and not limits.accept_mock:", "if False:"),),
    ),
    Mutation(
        "verdicts_mixed_up",
        "the verdicts of a batch come in another order than its pings",
        LIES,
        "ping_unaccounted",
        (
            Edit(
                "ingest/routes.py",
                "encode_verdicts(results, accepted)",
                "encode_verdicts(sorted(results, key=lambda one: one.status), accepted)",
            ),
        ),
    ),
)

#: Broken, and passed all the same: what the oracle does not look at. Each is to become a mutation; `verdict` is the one
#: that could name it. They are played when they are named.
BLIND_SPOTS = (
    Mutation(
        "distance_doubled",
        "the rider of a trip is told twice the distance that the car has driven",
        RIDES,
        "wire",
        (Edit("push/trip_messages.py", "round(car.distance_m, 1)", "round(2 * car.distance_m, 1)"),),
    ),
)
