"""The watchdog ends a worker whose consumer went silent, and no other."""

from __future__ import annotations

from stream.watchdog import PATIENCE, Watchdog


def test_lag_without_progress_is_a_stall() -> None:
    dog = Watchdog(30.0)
    assert dog.look({0: 10}, {0: 4}, 0.0) is None
    assert dog.look({0: 11}, {0: 4}, 29.0) is None
    assert dog.look({0: 12}, {0: 4}, 30.0) == 0


def test_a_quiet_topic_is_no_stall() -> None:
    dog = Watchdog(30.0)
    for at_s in range(0, 300, 10):
        assert dog.look({0: 4, 1: 0}, {0: 4}, float(at_s)) is None


def test_progress_starts_the_count_anew() -> None:
    dog = Watchdog(30.0)
    for step in range(100):
        assert dog.look({0: 1_000}, {0: step // 2}, step * 20.0) is None


def test_a_partition_that_waits_its_turn_is_given_patience_and_not_for_ever() -> None:
    dog = Watchdog(30.0)
    stalled_at = next(s for s in range(0, 1_000, 2) if dog.look({0: 10**6, 1: 5}, {0: s, 1: 4}, float(s)) == 1)
    assert stalled_at == 30 * PATIENCE


def test_a_partition_is_not_excused_by_others_that_have_nothing_to_do() -> None:
    dog = Watchdog(30.0)
    stalled_at = next(s for s in range(0, 1_000, 2) if dog.look({0: s, 1: 5}, {0: s, 1: 4}, float(s)) == 1)
    assert stalled_at == 30


def test_standing_still_for_a_reason_does_not_count() -> None:
    dog = Watchdog(30.0)
    dog.look({0: 10}, {0: 4}, 0.0)
    dog.pause()
    assert dog.look({0: 10}, {0: 4}, 100.0) is None
    assert dog.look({0: 10}, {0: 4}, 131.0) == 0


def test_kafka_may_be_away_for_minutes_and_not_for_ever() -> None:
    dog = Watchdog(30.0)
    blind_for = next(s for s in range(0, 1_000, 2) if dog.blind(float(s), assigned=True))
    assert blind_for == 30 * PATIENCE


def test_no_partition_for_as_long_counts_with_it() -> None:
    dog = Watchdog(30.0)
    blind_for = next(s for s in range(0, 1_000, 2) if dog.blind(float(s), assigned=s % 60 < 30))
    assert blind_for == 30 * PATIENCE


def test_one_look_or_a_redis_that_is_away_ends_the_blindness() -> None:
    for see in (lambda dog: dog.look({0: 4}, {0: 4}, 299.0), lambda dog: dog.pause()):
        dog = Watchdog(30.0)
        assert not any(dog.blind(float(at_s), assigned=True) for at_s in range(300))
        assert not see(dog)
        assert not dog.blind(300.0, assigned=True)
        assert not dog.blind(599.0, assigned=True)
        assert dog.blind(600.0, assigned=True)


def test_lag_from_before_a_rebalance_is_no_stall_after_it() -> None:
    dog = Watchdog(30.0)
    dog.look({0: 10}, {0: 4}, 0.0)
    assert not dog.blind(2.0, assigned=False)
    assert dog.look({0: 10}, {0: 4}, 100.0) is None
    assert dog.look({0: 10}, {0: 4}, 130.0) == 0


def test_looks_that_fail_now_and_then_do_not_hide_a_stall() -> None:
    dog = Watchdog(30.0)
    dog.look({0: 10}, {0: 4}, 0.0)
    assert not dog.blind(20.0, assigned=True)
    assert dog.look({0: 10}, {0: 4}, 30.0) == 0
