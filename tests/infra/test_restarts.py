"""When a service that ended is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.local.restarts import MISCONFIGURED, RestartPolicy

POLICY = RestartPolicy(restarts=3, within_s=60, backoff_s=1)
TIMES_S = st.lists(st.floats(min_value=0, max_value=1_000))


@given(TIMES_S)
def test_a_service_with_a_wrong_setting_is_never_started_again(restarted_at_s: list[float]) -> None:
    assert not POLICY.starts_again(MISCONFIGURED, restarted_at_s, 1_000)


@given(TIMES_S, st.sampled_from([0, 1, 70, -9, -15]))
def test_old_restarts_are_forgiven_and_recent_ones_are_counted(restarted_at_s: list[float], exit_code: int) -> None:
    recent = [at_s for at_s in restarted_at_s if at_s > 1_000 - 60]
    assert POLICY.starts_again(exit_code, restarted_at_s, 1_000) == (len(recent) < 3)


def test_a_service_that_ends_every_second_is_given_up_after_three_restarts() -> None:
    restarted_at_s: list[float] = []
    for now_s in range(100):
        if not POLICY.starts_again(70, restarted_at_s, now_s):
            break
        restarted_at_s.append(now_s)
    assert restarted_at_s == [0, 1, 2]
