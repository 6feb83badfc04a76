"""Frames lose nothing, double nothing, and keep each driver's order; and they are due when the settings say so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.events import Ping, decode_frame, encode_frame, frame_of_packed, pack_pings
from ingest.frames import HOLD_LINGERS, MAX_FRAME_BYTES, MAX_PING_BYTES, Frame, Framer

LINGER_S = 0.005


def ping(driver: int, number: int) -> Ping:
    return Ping(f"driver-{driver}", number, 1.0, 1.0, 0)


def test_a_frame_is_due_one_linger_after_its_first_ping() -> None:
    framer = Framer(LINGER_S, 100)
    assert framer.due_at_s(False) is None
    framer.add(3, [ping(1, 1)], 10.0)
    framer.add(3, [ping(1, 2)], 10.004)
    assert framer.take_due(10.0049, False) == []
    assert framer.due_at_s(False) == 10.0 + LINGER_S
    [frame] = framer.take_due(10.005, False)
    assert (frame.partition, [each.fix_time_ms for each in decode_frame(frame.value())]) == (3, [1, 2])
    assert not framer


def test_the_others_leave_with_the_first_that_is_due() -> None:
    framer = Framer(LINGER_S, 100)
    framer.add(1, [ping(1, 1)], 10.0)
    framer.add(2, [ping(2, 1)], 10.004)
    assert [frame.partition for frame in framer.take_due(10.005, False)] == [1, 2]


def test_a_full_frame_is_due_at_once_and_alone() -> None:
    framer = Framer(LINGER_S, 2)
    framer.add(1, [ping(1, 1)], 10.0)
    framer.add(2, [ping(2, 1)], 10.0)
    assert not framer.full
    framer.add(1, [ping(1, 2)], 10.0)
    assert framer.full
    assert [frame.partition for frame in framer.take_due(10.0, False)] == [1]
    assert [frame.partition for frame in framer.take_due(10.1, False)] == [2]


def test_while_an_acknowledgement_is_owed_frames_wait_longer_but_not_for_ever() -> None:
    framer = Framer(LINGER_S, 100)
    framer.add(1, [ping(1, 1)], 10.0)
    assert framer.take_due(10.0 + 2 * LINGER_S, True) == []
    assert len(framer.take_due(10.0 + HOLD_LINGERS * LINGER_S, True)) == 1


def test_no_frame_can_outgrow_what_kafka_takes() -> None:
    longest = Ping(
        "d" * 64, 2**62, -89.123456789, -179.123456789, 2**62, "p" * 64, 199.9, 359.9, 499.9, -19_999.9,
        "TWO_WHEELER", "OFFLINE",
    )  # fmt: skip
    assert len(encode_frame([longest])) - len(encode_frame([])) <= MAX_PING_BYTES
    framer = Framer(LINGER_S, 1_000_000)
    added = 0
    while not framer.full:
        framer.add(0, [longest], 0.0)
        added += 1
    assert len(encode_frame([longest] * added)) <= MAX_FRAME_BYTES


@given(st.lists(st.integers(0, 40), max_size=6))
def test_packed_pings_make_the_frame_that_they_would_make_together(counts: list[int]) -> None:
    groups = [[ping(group, number) for number in range(count)] for group, count in enumerate(counts)]
    together = [each for group in groups for each in group]
    assert frame_of_packed(len(together), map(pack_pings, groups)) == encode_frame(together)


def test_a_frame_of_many_pings_is_the_same_too() -> None:
    for count in (15, 16, 999, 65_535, 65_536):
        pings = [ping(1, 1)] * count
        assert frame_of_packed(count, [pack_pings(pings)]) == encode_frame(pings)


STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 12), st.sampled_from([0.0, 0.001, 0.004, 0.005, 0.02]), st.booleans()),
    max_size=100,
)


@given(STEPS, st.integers(1, 7))
def test_every_ping_leaves_once_and_each_drivers_in_order(steps: list[tuple[int, int, float, bool]], size: int) -> None:
    framer, now_s, left = Framer(LINGER_S, size), 0.0, list[Frame]()
    sent: list[tuple[int, int]] = []
    used: dict[int, list[Frame]] = {}
    for driver, count, pause_s, waiting in steps:
        now_s += pause_s
        numbers = range(len(sent), len(sent) + count)
        for frame in framer.add(driver % 3, [ping(driver, number) for number in numbers], now_s):
            used.setdefault(id(frame), []).append(frame)
        sent += [(driver, number) for number in numbers]
        due_at_s = framer.due_at_s(waiting)
        taken = framer.take_due(now_s, waiting)
        assert bool(taken) == (due_at_s is not None and due_at_s <= now_s)
        left += taken
    left += framer.take_all()
    assert not framer
    assert set(used) == {id(frame) for frame in left}, "the frames that add() names are those that leave"
    assert all(0 < frame.count == len(decode_frame(frame.value())) <= size for frame in left)
    arrived = [(int(each.driver_id[7:]), each.fix_time_ms) for frame in left for each in decode_frame(frame.value())]
    assert sorted(arrived) == sorted(sent)
    for driver in range(10):
        assert [number for one, number in arrived if one == driver] == [n for one, n in sent if one == driver]
    assert all(int(each.driver_id[7:]) % 3 == frame.partition for frame in left for each in decode_frame(frame.value()))
