"""A partition's frames end in one index: however they are split and repeated, and wherever the worker dies."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import OFFLINE, ONLINE, Ping
from stream.partitions import Partition, Record
from stream.regions import Shown, changes_of, shown_as
from tests.stream.index_model import IndexModel
from tests.stream.test_positions import MAX_SPEED_MPS, slow_fold

#: Three places in three regions, 9 to 12 km apart: at 10 minutes a step a car may drive between any two of them.
#: The fourth is too far away for that: a fix there is a jump, and one that comes late withdraws the fix after it.
PLACES = ((41.15, -8.61), (41.23, -8.61), (41.15, -8.75), (44.15, -8.61))
STEP_MS = 600_000
NEVER_MS = 1 << 50


def at(driver_id: str, step: int, place: int, state: str = ONLINE) -> Ping:
    lat, lon = PLACES[place]
    return Ping(driver_id, step * STEP_MS, lat, lon, received_at_ms=step, vehicle_state=state)


pings = st.builds(
    at,
    st.sampled_from("abc"),
    st.integers(0, 9),
    st.sampled_from([0, 0, 1, 1, 2, 2, 3]),
    st.sampled_from([ONLINE, ONLINE, ONLINE, OFFLINE]),
)
frames_of_pings = st.lists(st.lists(pings, max_size=5), min_size=1, max_size=12)


def expected(frames: list[list[Ping]]) -> dict[str, Ping]:
    by_driver: dict[str, list[Ping]] = defaultdict(list)
    for frame in frames:
        for one in frame:
            by_driver[one.driver_id].append(one)
    lives = {driver_id: slow_fold(arrived)[1] for driver_id, arrived in by_driver.items()}
    return {driver_id: live for driver_id, live in lives.items() if live.vehicle_state != OFFLINE}


def assert_holds(index: IndexModel, frames: list[list[Ping]]) -> None:
    assert index.cars() == {driver_id: shown_as(live).car for driver_id, live in expected(frames).items()}
    assert index.record is not None
    assert sum(index.record.totals.values()) == sum(map(len, frames))


@given(frames_of_pings, st.integers(0, 1 << 32))
@settings(max_examples=600, deadline=None)
def test_dying_anywhere_loses_and_doubles_nothing(frames: list[list[Ping]], seed: int) -> None:
    index, rng = IndexModel(), random.Random(seed)
    while index.record is None or index.record.fence < len(frames) - 1:
        partition = Partition(0, index.record or Record(epoch=1), MAX_SPEED_MPS)
        dies = rng.random() < 0.6
        while partition.next_offset < len(frames):
            for _ in range(rng.randint(1, 3)):
                if partition.next_offset < len(frames):
                    partition.fold(partition.next_offset, frames[partition.next_offset])
            write = partition.take_write(now_ms=0, gone_after_ms=NEVER_MS)
            count = len(write.regions) + len(write.afterwards) + 1
            done = rng.randint(0, count) if dies else count
            for _ in zip(range(done), index.steps(write), strict=False):
                pass
            if done < count:
                break
    cars, wanted = index.cars(), expected(frames)
    # Docs: decision 0003, "What may still differ": whose fix was taken back may wait for its next ping.
    newest_ms = {one.driver_id: max(each.fix_time_ms for f in frames for each in f if each.driver_id == one.driver_id)
                 for one in wanted.values()}  # fmt: skip
    waits = {driver_id for driver_id, live in wanted.items() if live.fix_time_ms < newest_ms[driver_id]} - cars.keys()
    assert cars == {driver_id: shown_as(live).car for driver_id, live in wanted.items() if driver_id not in waits}
    assert index.record is not None
    assert sum(index.record.totals.values()) == sum(map(len, frames))


@given(frames_of_pings)
@settings(max_examples=300, deadline=None)
def test_a_driver_that_crosses_is_always_in_some_region(frames: list[list[Ping]]) -> None:
    index, partition = IndexModel(), Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    for offset, frame in enumerate(frames):
        partition.fold(offset, frame)
        before = set(index.cars())
        stay = before & set(partition.drivers) & {
            driver_id for driver_id, state in partition.drivers.items() if state.live.vehicle_state != OFFLINE
        }  # fmt: skip
        for _ in index.steps(partition.take_write(0, NEVER_MS)):
            assert all(index.where(driver_id) for driver_id in stay)
    assert_holds(index, frames)


@given(frames_of_pings, st.integers(0, 11))
@settings(max_examples=300, deadline=None)
def test_a_wiped_redis_holds_everything_again_after_one_write(frames: list[list[Ping]], wiped_before: int) -> None:
    index, partition = IndexModel(), Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    for offset, frame in enumerate(frames):
        if offset == wiped_before:
            index = IndexModel()
            partition.rewrite(epoch=2)
        partition.fold(offset, frame)
        for _ in index.steps(partition.take_write(0, NEVER_MS)):
            pass
    assert_holds(index, frames)
    assert index.record is not None
    assert set(index.record.drivers) == set(partition.drivers)


@given(frames_of_pings, st.integers(0, 1 << 32))
@settings(max_examples=600, deadline=None)
def test_no_driver_is_in_no_region_while_a_successor_catches_up(frames: list[list[Ping]], seed: int) -> None:
    """Workers die after any script; each successor's first write reaches at least as far as the writes before it."""
    index, rng, reached = IndexModel(), random.Random(seed), 0
    while index.record is None or index.record.fence < len(frames) - 1:
        partition = Partition(0, index.record or Record(epoch=1), MAX_SPEED_MPS)
        dies = rng.random() < 0.7
        while partition.next_offset < len(frames):
            reached = min(max(reached, partition.next_offset + rng.randint(1, 3)), len(frames))
            while partition.next_offset < reached:
                partition.fold(partition.next_offset, frames[partition.next_offset])
            shown = {driver_id for driver_id in partition.drivers if index.where(driver_id)}
            write = partition.take_write(now_ms=0, gone_after_ms=NEVER_MS)
            stay = shown & {place.fix.driver_id for place in partition.places()}
            count = len(write.regions) + len(write.afterwards) + 1
            done = rng.randint(0, count) if dies else count
            for _ in zip(range(done), index.steps(write), strict=False):
                assert all(index.where(driver_id) for driver_id in stay)
            if done < count:
                break
    assert_holds(index, frames)


def test_a_driver_whom_a_withdrawn_fix_took_away_is_back_whatever_a_dead_worker_wrote() -> None:
    """It wrote the move to region 1, or that `a` went offline; then a late jump shows that fix to be unfounded."""
    for state in (ONLINE, OFFLINE):
        start = [at("a", 0, 0), at("a", 1, 0)]
        frames = [[at("a", 5, 1, state)], [at("a", 4, 3)]]
        index = IndexModel()
        dead = Partition(0, Record(epoch=1), MAX_SPEED_MPS)
        dead.fold(0, start)
        list(index.steps(dead.take_write(0, NEVER_MS)))
        dead.fold(1, frames[0])
        for _ in zip(range(2 if state == ONLINE else 1), index.steps(dead.take_write(0, NEVER_MS)), strict=False):
            pass  # the regions are written, the record is not
        assert index.record is not None
        heir = Partition(0, index.record, MAX_SPEED_MPS)
        for offset, frame in enumerate(frames, 1):
            heir.fold(offset, frame)
        for _ in index.steps(heir.take_write(0, NEVER_MS)):
            assert index.where("a") or state == OFFLINE
        assert index.cars() == {"a": shown_as(start[1]).car}


def test_a_worker_that_is_only_late_removes_nobody_whom_its_successor_has_set() -> None:
    """Both catch up; in the late one's write `a` passes through region 0 to 1, in the successor's it returns."""
    frames = [[at("a", 1, 0)], [at("a", 2, 1)], [at("a", 3, 0)]]
    index, late, successor = IndexModel(), *(Partition(0, Record(epoch=1), MAX_SPEED_MPS) for _ in range(2))
    for offset in (0, 1):
        late.fold(offset, frames[offset])
    for offset in (0, 1, 2):
        successor.fold(offset, frames[offset])
    for write in (successor.take_write(0, NEVER_MS), late.take_write(0, NEVER_MS)):
        for _ in index.steps(write):
            pass
    assert index.cars() == {"a": shown_as(frames[2][0]).car}


@given(frames_of_pings, st.lists(st.integers(0, 9), min_size=12, max_size=12))
@settings(max_examples=300, deadline=None)
def test_who_is_gone_is_evicted_and_nobody_else(frames: list[list[Ping]], sweeps: list[int]) -> None:
    index, partition = IndexModel(), Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    now_ms = 0
    for offset, (frame, step) in enumerate(zip(frames, sweeps, strict=False)):
        now_ms = max(now_ms, step * STEP_MS)
        partition.fold(offset, frame)
        for _ in index.steps(partition.take_write(now_ms, 2 * STEP_MS)):
            pass
        gone = partition.gone(now_ms, 2 * STEP_MS)
        index.evict(gone)
        partition.evicted(gone)
        shown = {
            d: live for d, live in expected(frames[: offset + 1]).items() if now_ms - live.fix_time_ms < 2 * STEP_MS
        }
        assert index.cars() == {driver_id: shown_as(live).car for driver_id, live in shown.items()}


def test_a_car_left_in_the_index_by_a_worker_that_died_is_evicted_when_it_is_gone() -> None:
    index = IndexModel()
    dead = Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    dead.fold(0, [at("a", 0, 0)])
    next(index.steps(dead.take_write(0, STEP_MS)))  # the region is written, the record is not
    late_ms = 9 * STEP_MS
    heir = Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    heir.fold(0, [at("a", 0, 0)])
    for _ in index.steps(heir.take_write(late_ms, STEP_MS)):
        pass
    gone = heir.gone(late_ms, STEP_MS)
    index.evict(gone)
    assert index.cars() == {}


@dataclass
class Placed:
    live: Ping
    place: Shown | None


def test_drivers_who_swap_regions_in_one_frame_are_set_before_they_are_removed() -> None:
    swapping = [Placed(at("a", 1, 1), shown_as(at("a", 0, 0))), Placed(at("b", 1, 0), shown_as(at("b", 0, 1)))]
    first, afterwards = changes_of(swapping, gone_before_ms=-1)
    assert sorted(d for change in first.values() for d in change.cars) == ["a", "b"]
    removed = [d for change in (*first.values(), *afterwards.values()) for d in change.removals]
    assert sorted(removed) == ["a", "b"]
    assert len(afterwards) == 1


def test_a_removal_beats_the_fix_it_removes_also_when_the_newer_one_is_older() -> None:
    changes, _ = changes_of([Placed(at("a", 3, 1), shown_as(at("a", 5, 0)))], gone_before_ms=-1)
    removal = next(change.removals["a"] for change in changes.values() if change.removals)
    assert removal.fix_time_ms == 5 * STEP_MS


def test_a_fix_that_did_not_change_is_not_written_again() -> None:
    live = at("a", 5, 0)
    assert changes_of([Placed(live, shown_as(live))], gone_before_ms=-1) == ({}, {})


def test_a_log_that_began_anew_counts_above_every_fence_there_was() -> None:
    partition = Partition(0, Record(epoch=1, base=0, fence=7), MAX_SPEED_MPS)
    assert partition.next_offset == 8
    partition.restart_log()
    assert partition.next_offset == 0
    partition.fold(0, [at("a", 0, 0)])
    assert partition.fence == 8
    assert partition.next_offset == 1
    write = partition.take_write(0, NEVER_MS)
    again = Partition(0, Record(1, write.record.base, write.record.fence), MAX_SPEED_MPS)
    assert again.next_offset == 1


def test_a_driver_silent_for_a_day_is_forgotten_and_one_who_pings_is_not() -> None:
    day_ms = 144 * STEP_MS
    partition = Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    partition.fold(0, [at("a", 0, 0), at("b", 0, 0)])
    partition.fold(1, [at("b", 100, 0)])
    partition.take_write(0, NEVER_MS)
    assert partition.forget(day_ms, day_ms) == 0  # still shown: the sweep comes first
    partition.evicted(partition.gone(day_ms, 1))
    assert partition.forget(day_ms + 1, day_ms) == 1
    assert set(partition.drivers) == {"b"}
    assert partition.take_write(0, NEVER_MS).forgotten == ["a"]


def test_a_forgotten_driver_who_comes_back_before_the_next_write_is_kept() -> None:
    index, partition = IndexModel(), Partition(0, Record(epoch=1), MAX_SPEED_MPS)
    partition.fold(0, [at("a", 0, 0), at("b", 0, 0)])
    list(index.steps(partition.take_write(0, NEVER_MS)))
    partition.evicted(partition.gone(2 * STEP_MS, STEP_MS))
    assert partition.forget(2 * STEP_MS, STEP_MS) == 2
    partition.fold(1, [at("a", 3, 0)])
    write = partition.take_write(0, NEVER_MS)
    assert (list(write.record.drivers), write.forgotten) == (["a"], ["b"])
    list(index.steps(write))
    assert index.record is not None
    assert set(index.record.drivers) == {"a"}
