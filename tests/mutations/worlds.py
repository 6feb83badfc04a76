"""The worlds in which mutations are looked for: each a short run that leans on some promises. Data."""

from __future__ import annotations

from tests.mutations.edits import Edit, World

#: Phones die, and then all fall silent. The limits are lowered, so that they are reached within the run.
SILENCE = World("silence", "silence", {"RIDESTREAM_STALE_AFTER_MS": "3000", "RIDESTREAM_GONE_AFTER_MS": "8000"})
#: Fixes come late, in heaps, in any order and twice; riders of trips drop out and come back.
LATE = World("late", "late")
#: Events come right after one another, and riders are told once a second, so that they hear of several at once.
STOPS = World("stops", "stops", {"RIDESTREAM_TICK_MS": "1000", "RIDESTREAM_MAX_TICK_MS": "1000"})
#: As `LATE`, and every hundredth frame fails on its way to Kafka, as when a leader moves.
LOSSY_KAFKA = World(
    "late, frames fail",
    "late",
    faults=(
        Edit(
            "ingest/producer.py",
            "                self._log.append(frame.partition, frame.value(), partial(self._on_done, frame))\n",
            '                self._frames = getattr(self, "_frames", 0) + 1\n'
            "                if self._frames % 100 == 0:\n"
            '                    raise KafkaError("lost on purpose")\n'
            "                self._log.append(frame.partition, frame.value(), partial(self._on_done, frame))\n",
        ),
    ),
)
#: Riders with small circles and few cars, who walk.
RIM = World("rim", "rim")
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
