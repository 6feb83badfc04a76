"""The mirror shows what the index says, whatever the network does, and never takes a rider back in time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from push.mirror import Mirror, Outcome
from stream.channels import RegionDelta, RegionSnapshot, Removal, region_of
from tests.push.city import MANHATTAN, car, towards
from tests.push.index import IndexModel

STALE_MS, GONE_MS = 30_000, 120_000
#: Two regions' worth of corners, so that drivers cross.
SPOTS = [MANHATTAN, towards(MANHATTAN, 90, 400), towards(MANHATTAN, 40, 9_000), towards(MANHATTAN, 40, 9_300)]
HERE, THERE = region_of(car("x", 0, SPOTS[0]).cell), region_of(car("x", 0, SPOTS[2]).cell)
NOW_MS = 1_700_000_000_000

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(-50, 50), st.sampled_from(range(4))),
        st.tuples(st.just("remove"), st.sampled_from("abc")),
        st.tuples(st.just("settle"), st.integers(0, 60)),
        st.tuples(st.just("deliver"), st.integers(0, 3)),
        st.tuples(st.just("lose"), st.integers(0, 3)),
        st.tuples(st.just("repeat"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.sampled_from((HERE, THERE))),
        st.tuples(st.just("slow read"), st.sampled_from((HERE, THERE))),
        st.tuples(st.just("wipe")),
        st.tuples(st.just("drop"), st.sampled_from((HERE, THERE))),
    ),
    max_size=60,
)


def shown(mirror: Mirror) -> dict[str, object]:
    return {driver_id: marker.car for bucket in mirror.cells.values() for driver_id, marker in bucket.items()}


@settings(max_examples=400, deadline=None)
@given(steps=steps)
def test_no_car_ever_moves_backwards_and_the_end_is_what_the_index_says(steps):
    index, mirror = IndexModel(), Mirror(STALE_MS, GONE_MS)
    waiting: list[tuple[int, RegionDelta]] = []
    slow: list[tuple[int, RegionSnapshot]] = []
    newest_ms: dict[str, int] = {}
    known: dict[str, object] = {}
    now_ms = NOW_MS
    for region in (HERE, THERE):
        mirror.expect(region)

    def settle() -> None:
        for driver_id, before, after in mirror.settle(now_ms):
            assert known.get(driver_id) is before
            known[driver_id] = after
            if after is not None:
                assert after.car.fix_time_ms >= newest_ms.get(driver_id, 0), "backwards"
                assert now_ms - after.car.fix_time_ms < GONE_MS, "gone but shown"
                assert after.stale == (now_ms - after.car.fix_time_ms >= STALE_MS)
                newest_ms[driver_id] = after.car.fix_time_ms
        assert {driver_id: marker.car for driver_id, marker in known.items() if marker} == shown(mirror)
        for cell, bucket in mirror.cells.items():
            assert all(marker.car.cell == cell for marker in bucket.values())

    for step in steps:
        match step:
            case ("put", driver_id, ago_s, spot):
                index.put(car(driver_id, now_ms - ago_s * 1_000, SPOTS[spot]))
            case ("remove", driver_id):
                index.remove(driver_id)
            case ("settle", seconds):
                now_ms += seconds * 1_000
                settle()
            case ("wipe",):
                index.wipe()
                index.rewrite()
            case ("read", region):
                mirror.expect(region)
                mirror.apply_snapshot(region, index.snapshot(region))
            case ("slow read", region):
                mirror.expect(region)
                slow.append((region, index.snapshot(region)))
            case ("drop", region):
                mirror.drop(region)
                mirror.expect(region)
            case (kind, at):
                waiting += index.published
                index.published = []
                if slow and at == 3:
                    mirror.apply_snapshot(*slow.pop(0))
                elif waiting:
                    each = waiting[at % len(waiting)]
                    if kind != "repeat":
                        waiting.remove(each)
                    if kind != "lose":
                        mirror.apply_delta(*each)

    # In the end everything is read once more, twice where the index was lost: what is not named then is gone. (Of a
    # region that no worker has written since, cars leave by their age.)
    for region in (HERE, THERE):
        index.touch(region)
    for _ in range(2):
        for region in (HERE, THERE):
            mirror.expect(region)
            assert mirror.apply_snapshot(region, index.snapshot(region)) in (Outcome.APPLIED, Outcome.UNCONFIRMED)
    settle()
    assert shown(mirror) == {
        driver_id: at
        for driver_id, at in index.at.items()
        # A fix that was taken back is not shown to those who saw the newer one.
        if now_ms - at.fix_time_ms < GONE_MS and at.fix_time_ms >= newest_ms.get(driver_id, 0)
    }


@settings(max_examples=200, deadline=None)
@given(
    writes=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60), st.sampled_from(range(4))), max_size=30),
    read_at=st.integers(0, 30),
)
def test_a_snapshot_that_races_the_deltas_has_no_wrong_outcome(writes, read_at):
    # subscribe ──▶ deltas arrive ──▶ snapshot taken somewhere in between ──▶ snapshot arrives last
    index, mirror = IndexModel(), Mirror(STALE_MS, GONE_MS)
    for region in (HERE, THERE):
        mirror.expect(region)
    snapshots = []
    for number, (driver_id, ago_s, spot) in enumerate(writes):
        if number == read_at:
            snapshots = [(region, index.snapshot(region)) for region in (HERE, THERE)]
        index.put(car(driver_id, NOW_MS - ago_s * 1_000, SPOTS[spot]))
    snapshots = snapshots or [(region, index.snapshot(region)) for region in (HERE, THERE)]
    for region, delta in index.published:
        if region in (HERE, THERE):
            assert mirror.apply_delta(region, delta) is Outcome.BUFFERED
    for region, snapshot in snapshots:
        assert mirror.apply_snapshot(region, snapshot) is Outcome.APPLIED
    mirror.settle(NOW_MS)
    assert shown(mirror) == index.at


def loaded(*cars: object, epoch: int = 7) -> Mirror:
    mirror = Mirror(STALE_MS, GONE_MS)
    mirror.expect(HERE)
    mirror.apply_snapshot(HERE, RegionSnapshot(epoch, 1, list(cars)))  # type: ignore[arg-type]
    mirror.settle(NOW_MS)
    return mirror


def test_a_car_turns_stale_once_and_then_is_gone():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    assert not mirror.is_due(NOW_MS + STALE_MS - 1)
    assert mirror.settle(NOW_MS + STALE_MS - 1) == []
    assert mirror.is_due(NOW_MS + STALE_MS)
    ((_, before, after),) = mirror.settle(NOW_MS + STALE_MS)
    assert before.car == after.car
    assert (before.stale, after.stale) == (False, True)
    assert mirror.settle(NOW_MS + GONE_MS - 1) == []
    ((_, before, after),) = mirror.settle(NOW_MS + GONE_MS)
    assert (before.stale, after) == (True, None)
    assert mirror.cells == {}


def test_a_stale_car_that_pings_again_is_live_again():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.settle(NOW_MS + STALE_MS)
    mirror.apply_delta(HERE, RegionDelta(7, 2, [car("a", NOW_MS + STALE_MS, SPOTS[1])], []))
    ((_, _, after),) = mirror.settle(NOW_MS + STALE_MS)
    assert not after.stale


def test_a_removal_does_not_beat_a_newer_fix():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.apply_delta(HERE, RegionDelta(7, 2, [], [Removal("a", NOW_MS - 1)]))
    assert mirror.settle(NOW_MS) == []
    mirror.apply_delta(HERE, RegionDelta(7, 3, [], [Removal("a", NOW_MS)]))
    ((_, _, after),) = mirror.settle(NOW_MS)
    assert after is None


def test_a_fix_that_was_taken_back_hides_the_car_until_a_newer_one_comes():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.apply_delta(HERE, RegionDelta(7, 2, [car("a", NOW_MS - 5_000, SPOTS[1])], []))
    ((_, _, after),) = mirror.settle(NOW_MS)
    assert after is None
    mirror.apply_delta(HERE, RegionDelta(7, 3, [car("a", NOW_MS + 1, SPOTS[1])], []))
    ((_, _, after),) = mirror.settle(NOW_MS + 1)
    assert after.car.fix_time_ms == NOW_MS + 1


def test_a_gap_or_another_epoch_asks_for_a_read_and_a_repetition_does_not():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    assert mirror.apply_delta(HERE, RegionDelta(7, 1, [], [])) is Outcome.IGNORED
    assert mirror.apply_delta(HERE, RegionDelta(7, 3, [], [])) is Outcome.GAP
    assert mirror.apply_delta(HERE, RegionDelta(7, 4, [], [])) is Outcome.BUFFERED
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    assert mirror.apply_delta(HERE, RegionDelta(8, 2, [], [])) is Outcome.GAP
    assert mirror.apply_delta(12345, RegionDelta(8, 2, [], [])) is Outcome.IGNORED


def test_cars_stay_while_a_lost_index_is_written_anew():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]), car("b", NOW_MS, SPOTS[1]))
    mirror.expect(HERE)
    assert mirror.apply_snapshot(HERE, RegionSnapshot(0, 0, [])) is Outcome.UNCONFIRMED
    assert mirror.settle(NOW_MS) == []
    # The first worker is back; the other's cars are not there yet.
    assert mirror.apply_delta(HERE, RegionDelta(8, 1, [car("a", NOW_MS, SPOTS[0])], [])) is Outcome.APPLIED
    assert mirror.settle(NOW_MS) == []
    mirror.expect(HERE)
    assert mirror.apply_snapshot(HERE, RegionSnapshot(8, 1, [car("a", NOW_MS, SPOTS[0])])) is Outcome.APPLIED
    ((driver_id, _, after),) = mirror.settle(NOW_MS)
    assert (driver_id, after) == ("b", None)


def test_an_empty_index_that_stays_empty_is_believed_in_the_end():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.settle(NOW_MS + GONE_MS)
    mirror.expect(HERE)
    mirror.apply_snapshot(HERE, RegionSnapshot(0, 0, []))
    mirror.expect(HERE)
    assert mirror.apply_snapshot(HERE, RegionSnapshot(0, 0, [])) is Outcome.APPLIED


def test_drivers_are_forgotten_once_their_newest_fix_would_be_gone_anyway():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.drop(HERE)
    mirror.settle(NOW_MS)
    assert len(mirror) == 1
    mirror.settle(NOW_MS + GONE_MS)
    assert len(mirror) == 0


def test_too_many_deltas_while_a_region_is_read_lead_to_another_read():
    mirror = Mirror(STALE_MS, GONE_MS)
    mirror.expect(HERE)
    for seq in range(1, 1_000):
        mirror.apply_delta(HERE, RegionDelta(7, seq, [], []))
    assert mirror.apply_snapshot(HERE, RegionSnapshot(7, 5, [])) is Outcome.GAP
    mirror.expect(HERE)
    assert mirror.apply_snapshot(HERE, RegionSnapshot(7, 999, [])) is Outcome.APPLIED


def test_the_clock_of_the_mirror_never_runs_backwards():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.settle(NOW_MS + STALE_MS)
    assert mirror.settle(NOW_MS) == []
    assert mirror.now_ms == NOW_MS + STALE_MS


def test_a_stale_car_that_pings_again_and_falls_silent_is_stale_again_on_time():
    mirror = loaded(car("a", NOW_MS, SPOTS[0]))
    mirror.settle(NOW_MS + STALE_MS)
    again_ms = NOW_MS + STALE_MS + 10_000
    mirror.apply_delta(HERE, RegionDelta(7, 2, [car("a", again_ms, SPOTS[1])], []))
    ((_, _, after),) = mirror.settle(again_ms)
    assert not after.stale
    assert mirror.settle(again_ms + STALE_MS - 1) == []
    assert mirror.is_due(again_ms + STALE_MS)
    ((_, _, after),) = mirror.settle(again_ms + STALE_MS)
    assert after.stale
    assert mirror.settle(again_ms + GONE_MS - 1) == []
    ((_, _, after),) = mirror.settle(again_ms + GONE_MS)
    assert after is None


#: Around both limits, and in between.
AGES_S = st.sampled_from((0, 1, 10, 29, 30, 31, 60, 89, 90, 91, 119, 120, 121))


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("ping"), st.sampled_from("abc"), AGES_S, st.sampled_from(range(2))),
            st.tuples(st.just("remove"), st.sampled_from("abc")),
            st.tuples(st.just("wait"), AGES_S),
        ),
        max_size=40,
    )
)
def test_after_every_settlement_each_car_is_as_fresh_as_its_fix_is_old(steps):
    mirror, index = Mirror(STALE_MS, GONE_MS), IndexModel()
    mirror.expect(HERE)
    mirror.apply_snapshot(HERE, index.snapshot(HERE))
    now_ms = NOW_MS
    newest: dict[str, int] = {}
    there: dict[str, int] = {}
    for step in steps:
        match step:
            case ("ping", driver_id, ago_s, spot):
                fix_ms = now_ms - ago_s * 1_000
                if fix_ms >= newest.get(driver_id, 0):  # the index keeps the newest
                    index.put(car(driver_id, fix_ms, SPOTS[spot]))
                    newest[driver_id] = there[driver_id] = fix_ms
            case ("remove", driver_id):
                index.remove(driver_id)
                there.pop(driver_id, None)
            case ("wait", seconds):
                now_ms += seconds * 1_000
        for region, delta in index.published:
            mirror.apply_delta(region, delta)
        index.published = []
        mirror.settle(now_ms)
        assert {driver_id: marker.stale for driver_id, marker in mirror.shown.items()} == {
            driver_id: now_ms - fix_ms >= STALE_MS for driver_id, fix_ms in there.items() if now_ms - fix_ms < GONE_MS
        }
