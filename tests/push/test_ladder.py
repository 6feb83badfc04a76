"""The slow ladder on a simulated way: what is on it stays young, and steps are climbed for reasons."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.ladder import FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES, MIN_WINDOW_BYTES, PART_BYTES, Ladder, Step, Thresholds

LIMITS = Thresholds(target_s=1.0, slower_after_s=3.0, drop_map_after_s=10.0, interval_s=2.0, stalled_after_s=30.0)
TICK_S = 0.05


class Way:
    """A link of `bytes_per_s` and `there_s`, and a rider at its end who reads what comes and answers pings."""

    def __init__(self, bytes_per_s: float, there_s: float = 0.02, has_map: bool = True) -> None:
        self.bytes_per_s, self.there_s, self.has_map = bytes_per_s, there_s, has_map
        self.now_s = 100.0
        self.written = self.read = 0
        self.ladder = Ladder(LIMITS, 0, self.now_s)
        self.positions: deque[tuple[int, float]] = deque()
        self.ages: list[float] = []
        self.pings: deque[tuple[int, bytes]] = deque()
        self.pongs: deque[tuple[float, bytes]] = deque()
        self.steps: list[Step] = []
        self.most = 0

    def run(self, seconds: float) -> None:
        """The rider's map has always more to tell than the way takes, and its trip a position every second."""
        for tick in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            self.read = min(self.written, self.read + round(self.bytes_per_s * TICK_S))
            while self.positions and self.positions[0][0] <= self.read:
                self.ages.append(self.now_s - self.positions.popleft()[1] + self.there_s)
            while self.pings and self.pings[0][0] <= self.read and self.bytes_per_s:
                self.pongs.append((self.now_s + 2 * self.there_s, self.pings.popleft()[1]))
            while self.pongs and self.pongs[0][0] <= self.now_s:
                assert self.ladder.pong(self.pongs.popleft()[1], self.now_s)
            if tick % 20 == 0:
                before = self.ladder.step
                step = self.ladder.judge(self.now_s, self.has_map and before < Step.TRIP)
                if step is not before:
                    self.steps.append(step)
            self.write()

    def write(self) -> None:
        ladder = self.ladder
        told = False
        if ladder.room(self.written, self.now_s):
            self.written += 600
            self.positions.append((self.written, self.now_s))
            told = True
        while self.has_map and ladder.step < Step.TRIP and (room := ladder.room(self.written, self.now_s)):
            self.written += max(PART_BYTES, room // 4)
            told = True
        if told:
            ladder.told(self.now_s)
        self.most = max(self.most, ladder.on_its_way(self.written))
        ping = ladder.ping(self.written, self.now_s)
        if ping is not None:
            self.pings.append((self.written, ping))


def test_a_fast_way_is_filled_and_stays_on_the_first_step():
    way = Way(5_000_000)
    way.run(20)
    assert way.ladder.window_bytes == MAX_WINDOW_BYTES
    assert way.steps == []
    assert way.written > 20_000_000 / 10


def test_a_long_fast_way_is_not_taken_for_a_slow_one():
    way = Way(1_000_000, there_s=0.3)
    way.run(60)
    assert way.steps == []
    assert way.ladder.window_bytes >= MAX_WINDOW_BYTES // 2


def test_positions_stay_young_on_a_slow_way_and_the_map_goes_on():
    way = Way(4_096)
    way.run(60)
    assert way.most <= FIRST_WINDOW_BYTES + PART_BYTES + 600
    late = way.ages[len(way.ages) // 4 :]
    assert max(late) < 3.5
    assert Step.TRIP not in way.steps
    assert Step.CLOSE not in way.steps
    assert way.written > 60 * 4_096 / 3


def test_a_very_slow_way_loses_the_map_and_keeps_the_trip():
    way = Way(1_200)
    way.run(60)
    assert way.steps[:2] == [Step.SLOWER, Step.TRIP]
    positions = len(way.ages)
    way.run(30)
    assert len(way.ages) > positions
    assert Step.CLOSE not in way.steps


def test_without_a_trip_the_map_stays():
    ladder = Ladder(LIMITS, 0, 0.0)
    for second in range(1, 25):
        ladder.ping(10_000 * second, second)
        ladder.judge(second + 0.9, False)
        ladder.pong(b"%d" % (10_000 * second), second + (0.01 if second == 1 else 2.5))
    assert ladder.step is Step.SLOWER


def test_a_rider_who_stops_reading_is_closed_in_time_and_never_more_is_sent():
    way = Way(100_000)
    way.run(5)
    way.bytes_per_s = 0
    way.run(29)
    assert Step.CLOSE not in way.steps
    assert Step.TRIP not in way.steps
    way.run(4)
    assert way.steps[-1] is Step.CLOSE
    assert way.most <= MAX_WINDOW_BYTES + MAX_WINDOW_BYTES // 4 + 600


def test_a_rider_out_of_a_tunnel_is_told_everything_again():
    way = Way(100_000)
    way.run(5)
    way.bytes_per_s = 0
    way.run(10)
    way.bytes_per_s = 100_000
    way.run(20)
    assert way.steps == [Step.SLOWER, Step.FAST]


def test_a_pong_that_was_not_asked_for_is_nothing():
    ladder = Ladder(LIMITS, 0, 0.0)
    assert not ladder.pong(b"0", 1.0)
    assert ladder.ping(FIRST_WINDOW_BYTES, 1.0) == b"%d" % FIRST_WINDOW_BYTES
    assert ladder.ping(2 * FIRST_WINDOW_BYTES, 1.0) is None
    assert not ladder.pong(b"1", 1.0)
    assert ladder.pong(b"%d" % FIRST_WINDOW_BYTES, 1.1)
    assert ladder.on_its_way(2 * FIRST_WINDOW_BYTES) == FIRST_WINDOW_BYTES


@pytest.mark.parametrize("bytes_per_s", [2_500, 4_096, 10_000])
@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.5))
def test_little_is_on_a_slow_way_whatever_its_length(bytes_per_s, there_s):
    way = Way(bytes_per_s, there_s)
    way.run(40)
    assert way.ladder.window_bytes >= MIN_WINDOW_BYTES
    late = way.ages[len(way.ages) // 2 :]
    assert late
    assert max(late) < 2 * (MIN_WINDOW_BYTES + PART_BYTES + 600) / bytes_per_s + 3 * there_s + 1.5
