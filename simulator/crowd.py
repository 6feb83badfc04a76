"""Riders who stand about, walk on now and then, come back when they are cut off, and time every car that moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from simulator.departures import Departures
from simulator.latency import Latencies
from simulator.riders import Refused, Rider, RiderGone
from simulator.view import MOST_DESCRIBED, Faults, SeenCar

RADIUS_M = 1_000.0
#: A rider walks to another place after about this long.
WALK_AFTER_S = (15.0, 45.0)
#: A rider who was cut off comes back after a random part of this, as the close codes ask; doubled each time.
RECONNECT_S, LONGEST_RECONNECT_S = 1.0, 30.0
#: Close codes from here on mean: do not come back (push/protocol.py). So does an HTTP refusal of the handshake.
TERMINAL = range(4500, 5000)


class Crowd:
    """`riders` riders at `places` (lat, lon), chosen by `random`. `bearer(n)` gives rider n's token."""

    def __init__(
        self,
        url: str,
        bearer: Callable[[int], str],
        riders: int,
        places: Sequence[tuple[float, float]],
        random: Random,
        departures: Departures,
    ) -> None:
        self._url, self._bearer, self._places, self._departures = url, bearer, places, departures
        # Each rider has a generator of its own: what they draw must not depend on the network's timing.
        self._randoms = [Random(random.getrandbits(64)) for _ in range(riders)]  # noqa: S311 - seeded on purpose
        self.latency_ms = Latencies()
        self.faults = Faults()
        self.connected = self.reconnects = self.updates = self.snapshots = 0
        #: Riders who could not connect, or were told not to come back, and why.
        self.lost: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._live(number)) for number in range(len(self._randoms))]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def summary(self) -> dict[str, object]:
        return {
            "riders": len(self._randoms),
            "snapshots": self.snapshots,
            "updates": self.updates,
            "reconnects": self.reconnects,
            "lost": self.lost,
            "faults": self.faults.count,
            "faults_described": self.faults.described or [],
            "latency_ms": self.latency_ms.summary(),
        }

    @property
    def clean(self) -> bool:
        """Nobody was lost and no promise of the wire was broken."""
        return not self.lost and self.faults.count == 0

    async def _live(self, number: int) -> None:
        random = self._randoms[number]
        failures = 0
        while True:
            rider = Rider(self._url, self._bearer(number), on_move=self._moved)
            try:
                await self._stroll(rider, random)
            except (RiderGone, Refused, OSError, TimeoutError) as end:
                if isinstance(end, Refused) or (isinstance(end, RiderGone) and _terminal(end.code)):
                    self.lost.append(str(end))
                    return
                failures = 0 if rider.welcome is not None else failures + 1
            finally:
                await self._leave(rider)
            self.reconnects += 1
            await asyncio.sleep(random.uniform(0.0, min(LONGEST_RECONNECT_S, RECONNECT_S * 2**failures)))

    async def _stroll(self, rider: Rider, random: Random) -> None:
        """Stand, and walk on, until the connection ends (RiderGone) or the run does (cancelled)."""
        await rider.connect()
        self.connected += 1
        await rider.subscribe("near", *random.choice(self._places), radius_m=RADIUS_M)
        while True:
            try:
                raise await rider.until_gone(random.uniform(*WALK_AFTER_S))
            except TimeoutError:
                await rider.recenter("near", *random.choice(self._places))

    async def _leave(self, rider: Rider) -> None:
        if rider.welcome is not None:
            self.connected -= 1
        for view in rider.views.values():
            self.snapshots += view.snapshots
            self.updates += view.updates
        self.faults.count += rider.faults.count
        described = (self.faults.described or []) + (rider.faults.described or [])
        self.faults.described = described[:MOST_DESCRIBED]
        await rider.close()

    def _moved(self, car: SeenCar, received_s: float) -> None:
        took_ms = self._departures.took_ms(car.driver_id, car.fix_time_ms, received_s)
        if took_ms is not None:
            self.latency_ms.add(took_ms)


def _terminal(code: int) -> bool:
    """An HTTP refusal other than "busy" is as final as a code from 4500."""
    return code in TERMINAL or (400 <= code < 500 and code != 429)
