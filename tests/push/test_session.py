"""The rules of one connection, with time handed in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.identity import LEEWAY_S, Principal, TokenRefused
from push.actions import Close, Look, Pong, Send, Unwatch, Watch, Welcome, close
from push.nearby import Query
from push.protocol import (
    BAD_REQUEST,
    BAD_TOKEN,
    FORBIDDEN,
    NEVER_AUTHENTICATED,
    RATE_LIMITED,
    TOKEN_EXPIRED,
)
from push.session import MAX_BAD_MESSAGES, Limits, Session

LIMITS = Limits(5_000.0, 20, 500, 2, 10.0, 5.0)
WALL_S = 1_700_000_000.0


def verify(token: str, now_s: float) -> Principal:
    subject, _, scopes = token.partition(":")
    if subject == "bad":
        raise TokenRefused("token refused: it has expired")
    return Principal(subject, frozenset(scopes.split()), WALL_S + 100)


def fresh() -> Session:
    return Session(LIMITS, verify, 0.0)


def welcome() -> Session:
    session = fresh()
    assert session.authenticate("ann:rider", WALL_S) == [Welcome(None)]
    return session


def say(session: Session, now_s: float = 0.0, wall_s: float = WALL_S, /, **fields: object) -> list:
    return session.received(json.dumps(fields), now_s, wall_s)


def error_of(actions: list) -> str:
    (action,) = actions
    assert isinstance(action, Send)
    assert action.type == "error"
    return str(json.loads(action.payload)["code"])


PLACE = {"lat": 40.7, "lon": -74.0}


def test_a_first_message_authenticates():
    assert say(fresh(), type="auth", token="ann:rider", id="1") == [Welcome("1")]


def test_a_client_that_asks_before_it_authenticates_is_sent_away():
    (ending,) = say(fresh(), type="ping")
    assert ending.code == NEVER_AUTHENTICATED
    (ending,) = fresh().received("hello", 0.0, WALL_S)
    assert ending.code == BAD_REQUEST


def test_a_client_that_says_nothing_is_sent_away_in_time():
    session = fresh()
    assert session.due(4.9, WALL_S) is None
    ending = session.due(5.0, WALL_S)
    assert ending is not None
    assert ending.code == NEVER_AUTHENTICATED


def test_a_refused_token_and_a_missing_scope_close_differently():
    (ending,) = fresh().authenticate("bad", WALL_S)
    assert (ending.code, ending.reason) == (BAD_TOKEN, "token refused: it has expired")
    (ending,) = fresh().authenticate("ann:driver", WALL_S)
    assert ending.code == FORBIDDEN


def test_an_expired_token_ends_the_connection_and_a_new_one_prolongs_it():
    session = welcome()
    assert session.due(0, WALL_S + 100 + LEEWAY_S - 1) is None
    ending = session.due(0, WALL_S + 100 + LEEWAY_S)
    assert ending is not None
    assert ending.code == TOKEN_EXPIRED
    assert say(session, type="auth", token="ann:rider") == [Welcome(None)]
    (ending,) = say(session, type="auth", token="bob:rider")
    assert ending.code == FORBIDDEN


def test_a_subscription_is_answered_and_watched():
    reply, watch = say(welcome(), type="subscribe", id="1", sub="map", **PLACE, radius_m=500)
    assert json.loads(reply.payload) == {"type": "subscribed", "id": "1", "sub": "map", "limit": 500}
    assert watch == Watch("map", Query(40.7, -74.0, 500, 500.0))


def test_a_recentered_subscription_keeps_what_is_not_said_anew():
    session = welcome()
    say(session, type="subscribe", sub="map", **PLACE, radius_m=500, limit=7, vehicle_types=["TAXI"])
    look, reply = say(session, type="recenter", sub="map", lat=1, lon=2)
    assert look == Look("map", Query(1.0, 2.0, 7, 500.0, None, frozenset({"TAXI"})))
    assert json.loads(reply.payload) == {"type": "recentered", "sub": "map"}
    look, _ = say(session, type="recenter", sub="map", lat=1, lon=2, rings=3)
    assert look == Look("map", Query(1.0, 2.0, 7, None, 3, frozenset({"TAXI"})))


def test_an_unsubscribed_name_is_free_again():
    session = welcome()
    say(session, type="subscribe", sub="map", **PLACE, radius_m=500)
    unwatch, reply = say(session, type="unsubscribe", sub="map", id="2")
    assert unwatch == Unwatch("map")
    assert json.loads(reply.payload)["type"] == "unsubscribed"
    assert error_of(say(session, type="unsubscribe", sub="map")) == "unknown_sub"
    assert len(say(session, type="subscribe", sub="map", **PLACE, radius_m=500)) == 2


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("bad_place", {"lat": 90.1, "lon": 0, "radius_m": 1}),
        ("bad_place", {"lat": 0, "lon": -180.5, "radius_m": 1}),
        ("bad_area", {**PLACE}),
        ("bad_area", {**PLACE, "radius_m": 1, "rings": 1}),
        ("bad_area", {**PLACE, "radius_m": 5_000.1}),
        ("bad_area", {**PLACE, "radius_m": 0}),
        ("bad_area", {**PLACE, "rings": 21}),
        ("bad_area", {**PLACE, "rings": -1}),
        ("bad_limit", {**PLACE, "radius_m": 1, "limit": 0}),
        ("bad_limit", {**PLACE, "radius_m": 1, "limit": 501}),
        ("bad_vehicle_types", {**PLACE, "radius_m": 1, "vehicle_types": []}),
        ("bad_vehicle_types", {**PLACE, "radius_m": 1, "vehicle_types": ["BUS"]}),
        ("unknown_channel", {**PLACE, "radius_m": 1, "channel": "taxis"}),
        ("bad_sub", {**PLACE, "radius_m": 1, "sub": ""}),
        ("bad_sub", {**PLACE, "radius_m": 1, "sub": "x" * 65}),
    ],
)
def test_what_is_not_granted_is_an_error_and_the_connection_lives(code, fields):
    session = welcome()
    assert error_of(say(session, type="subscribe", **{"sub": "map", **fields})) == code
    assert len(say(session, type="subscribe", sub="ok", **PLACE, rings=0)) == 2


def test_subscriptions_are_counted_and_named_once():
    session = welcome()
    say(session, type="subscribe", sub="a", **PLACE, radius_m=1)
    assert error_of(say(session, type="subscribe", sub="a", **PLACE, radius_m=1)) == "sub_taken"
    say(session, type="subscribe", sub="b", **PLACE, radius_m=1)
    assert error_of(say(session, type="subscribe", sub="c", **PLACE, radius_m=1)) == "too_many_subscriptions"
    assert error_of(say(session, type="recenter", sub="c", **PLACE)) == "unknown_sub"


def test_no_error_repeats_a_position():
    actions = say(welcome(), type="subscribe", sub="map", lat=91.23456, lon=12.34567, radius_m=1)
    assert b"91.23" not in actions[0].payload


def test_more_messages_than_the_rate_end_the_connection():
    session = welcome()
    for _ in range(20):  # a burst of two seconds
        assert say(session, 1.0, type="ping") == [Pong(None)]
    (ending,) = say(session, 1.0, type="ping")
    assert ending.code == RATE_LIMITED


def test_the_rate_can_be_kept_up_for_ever():
    session = welcome()
    for number in range(1_000):
        assert say(session, number / 10.0, type="ping") == [Pong(None)]


def test_a_client_that_never_learns_is_sent_away():
    session = welcome()
    for _ in range(MAX_BAD_MESSAGES - 1):
        assert error_of(session.received("{", 0.0, WALL_S)) == "bad_message"
    (ending,) = session.received("{", 0.0, WALL_S)
    assert ending.code == BAD_REQUEST


def test_a_close_reason_fits_its_frame():
    assert len(close(BAD_REQUEST, "é" * 200).reason.encode()) <= 123


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_no_input_breaks_a_session(text):
    for session in (fresh(), welcome()):
        actions = session.received(text, 0.0, WALL_S)
        assert actions
        assert all(isinstance(each, Send | Close | Pong) for each in actions)


def test_deep_nesting_is_just_another_bad_message():
    assert error_of(welcome().received("[" * 4_000, 0.0, WALL_S)) == "bad_message"
    assert error_of(welcome().received('{"type":"ping","id":NaN}', 0.0, WALL_S)) == "bad_message"
