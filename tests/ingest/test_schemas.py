"""Bodies in every form and every bad shape: what is decoded, what is malformed, what is refused whole."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.schemas import BodyRefused, Malformed, PingIn, decode_body, is_one_ping
from tests.ingest.wire import encoded, ping

GOOD = ping(ping_id="a")


@pytest.mark.parametrize("body", [GOOD, [GOOD], {"pings": [GOOD]}, {"pings": [GOOD], "app": "1.2"}])
def test_the_three_forms_of_a_body_mean_the_same(body: Any) -> None:
    [decoded] = decode_body(encoded(body))
    assert isinstance(decoded, PingIn)
    assert (decoded.ping_id, decoded.lat, decoded.lon) == ("a", GOOD["lat"], GOOD["lon"])


@pytest.mark.parametrize("padding", [b" ", b"\n\t\r  "])
@pytest.mark.parametrize("body", [GOOD, [GOOD], {"pings": [GOOD]}])
def test_white_space_around_a_body_changes_nothing(body: Any, padding: bytes) -> None:
    assert decode_body(padding + encoded(body) + padding) == decode_body(encoded(body))


def test_a_ping_whose_id_says_pings_is_still_one_ping() -> None:
    [decoded] = decode_body(encoded(ping(ping_id="pings")))
    assert isinstance(decoded, PingIn)
    assert decoded.ping_id == "pings"


@pytest.mark.parametrize("padding", [b"", b"\n\t\r  "])
def test_one_ping_is_told_from_a_batch_of_one(padding: bytes) -> None:
    for one in (GOOD, ping(ping_id="pings"), ping(lat="pings"), ping(lat={"pings": []}), {}):
        assert is_one_ping(padding + encoded(one))
    for batch in ([GOOD], {"pings": [GOOD]}, {"app": {}, "pings": [{}]}, []):
        assert not is_one_ping(padding + encoded(batch))
    assert not is_one_ping(b'{"\\u0070ings":[{}]}')


def test_an_empty_batch_is_no_pings() -> None:
    assert decode_body(b"[]") == decode_body(b'{"pings":[]}') == []


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (ping(lat="north"), "lat"),
        (ping(lon=None), "lon"),
        (ping(fix_time_ms=1.5), "fix_time_ms"),
        (ping(fix_time_ms="2026-01-01T00:00:00Z"), "fix_time_ms"),
        (ping(ping_id=7), "ping_id"),
        (ping(is_mock="yes"), "is_mock"),
        ([1, 2], "array"),
        (None, "null"),
        ("ping", "str"),
    ],
)
def test_one_bad_ping_is_malformed_and_the_others_go_on(bad: Any, names: str) -> None:
    for body in ([GOOD, bad, GOOD], {"pings": [GOOD, bad, GOOD]}):
        first, middle, last = decode_body(encoded(body))
        assert isinstance(first, PingIn)
        assert isinstance(last, PingIn)
        assert isinstance(middle, Malformed)
        assert names in middle.detail
        assert middle.member == ("" if names in ("array", "null", "str") else names)


def test_a_malformed_ping_keeps_its_id_so_that_its_sender_can_drop_it() -> None:
    [malformed] = decode_body(encoded([ping(ping_id="x-1", lat=[])]))
    assert isinstance(malformed, Malformed)
    assert malformed.ping_id == "x-1"


def test_a_detail_never_repeats_what_was_sent() -> None:
    for bad in (ping(lat="41.157944"), ping(lat=None), ping(heading_deg={"lat": 41.157944}), ping(ping_id=41.157944)):
        [malformed] = decode_body(encoded([bad]))
        assert isinstance(malformed, Malformed)
        assert "157944" not in malformed.detail


def test_a_number_that_is_no_double_spoils_only_its_own_ping() -> None:
    one = encoded(GOOD).decode()
    bad = one.replace(str(GOOD["lat"]), "1e999")
    for body in (f"[{one},{bad}]", f'{{"pings":[{one},{bad}]}}'):
        first, second = decode_body(body.encode())
        assert isinstance(first, PingIn)
        assert isinstance(second, Malformed)
    assert isinstance(decode_body(bad.encode())[0], Malformed)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"lat=1&lon=2", 400),
        (b'{"lat":', 400),
        (encoded(GOOD) + b"x", 400),
        (b"[" + encoded(GOOD) + b",]", 400),
        (encoded(GOOD).replace(b"8.5", b"NaN"), 400),
        (b"[" + encoded(GOOD).replace(b"8.5", b"Infinity") + b"]", 400),
        (encoded(GOOD).replace(b"8.5", b"-Infinity"), 400),
        (b"null", 400),
        (b"7", 400),
        (b'"pings"', 400),
        (b'{"pings":7}', 400),
        (b'{"pings":null}', 400),
        (b"[" * 100_000, 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"pings":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b"\xff\xfe{}", 400),
        (encoded([GOOD, ping(ping_id="\ud800")]), 400),
        (encoded([GOOD] * 1001), 413),
        (encoded({"pings": [GOOD] * 1001}), 413),
        (encoded([{}] * 1001), 413),
    ],
)
def test_a_body_that_is_not_pings_is_refused_whole(body: bytes, status: int) -> None:
    with pytest.raises(BodyRefused) as refused:
        decode_body(body)
    assert refused.value.status == status


def test_a_thousand_pings_are_taken() -> None:
    assert len(decode_body(encoded([GOOD] * 1000))) == 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
PINGISH = st.dictionaries(
    st.sampled_from([*sorted(PingIn.__struct_fields__), "pings", "extra"]), JSON, max_size=8
) | st.builds(ping, lat=JSON, lon=JSON, ping_id=JSON)


@given(st.lists(PINGISH | JSON, max_size=8))
def test_every_element_of_an_array_is_decoded_or_malformed_in_its_place(elements: list[Any]) -> None:
    decoded = decode_body(encoded(elements))
    assert len(decoded) == len(elements)
    for element, one in zip(elements, decoded, strict=True):
        if isinstance(one, PingIn):
            assert isinstance(element, dict)
            assert (one.lat, one.lon) == (element["lat"], element["lon"])


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()) | PINGISH.map(encoded))
def test_any_bytes_are_pings_or_refused_and_nothing_else(body: bytes) -> None:
    with suppress(BodyRefused):
        assert all(isinstance(one, PingIn | Malformed) for one in decode_body(body))
