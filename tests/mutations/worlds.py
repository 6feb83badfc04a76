"""The worlds in which mutations are looked for: each a short run that leans on some promises. Data."""

from __future__ import annotations

from tests.mutations.edits import Edit, World

#: Phones die, and then all fall silent. The limits are lowered, so that they are reached within the run.
SILENCE = World("silence", "silence", {"RIDESTREAM_STALE_AFTER_MS": "3000", "RIDESTREAM_GONE_AFTER_MS": "8000"})
#: Fixes come late, in heaps, in any order and twice; riders of trips drop out and come back.
LATE = World("late", "late")
#: Short trips, and a push that is so busy that it tells riders only every four seconds: they hear of several events at
#: once.
STOPS = World(
    "stops, push is busy",
    "stops",
    faults=(
        Edit(
            "push/ticks.py",
            "    return min(max(max_tick_s, tick_s), max(tick_s, spent_s / BUSY_SHARE))",
            "    return 4.0",
        ),
    ),
)
#: As `LATE`, and every fifteenth frame fails on its way to Kafka, as when a leader moves.
LOSSY_KAFKA = World(
    "late, frames fail",
    "late",
    faults=(
        Edit(
            "ingest/producer.py",
            "                self._log.append(frame.partition, frame.value(), partial(self._on_done, frame))\n",
            '                self._frames = getattr(self, "_frames", 0) + 1\n'
            "                if self._frames % 15 == 0:\n"
            '                    raise KafkaError("lost on purpose")\n'
            "                self._log.append(frame.partition, frame.value(), partial(self._on_done, frame))\n",
        ),
    ),
)
#: Rides in a calm town, watched with a short grace.
RIDES = World("rides", "rides")
#: Riders with small circles and few cars, who walk.
RIM = World("rim", "rim")
#: Riders on one side of the border of two regions only.
BORDER = World("border", "border")
#: Phones that lie: leaps, made-up and empty positions.
LIES = World("lies", "lies")
#: Phones report seldom, so that each change counts, and every seventh that is published does not arrive.
LOSSY_PUBSUB = World(
    "seldom, changes are lost",
    "seldom",
    faults=(
        Edit(
            "push/feed.py",
            "        key = self._key_of(channel)\n        try:\n",
            '        self._heard = getattr(self, "_heard", 0) + 1\n'
            "        if self._heard % 7 == 0:\n"
            "            return False\n"
            "        key = self._key_of(channel)\n        try:\n",
        ),
    ),
)
