"""What a client may send as Idempotency-Key, and what makes two requests the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.idempotency import MAX_KEY_CHARACTERS, read_key, request_key, trip_id_of
from ingest.schemas import valid_id
from ingest.trip_schemas import CancelIn, MoveIn


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=MAX_KEY_CHARACTERS))
def test_a_string_in_quotes_is_the_key_that_was_meant(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert read_key(f'"{escaped}"') == key


def test_a_bare_key_and_one_in_quotes_are_the_same() -> None:
    assert read_key("8e03978e-40d5") == read_key(' "8e03978e-40d5" ') == "8e03978e-40d5"


@pytest.mark.parametrize("header", ["", '""', '"open', 'clo"sed', "two words", "caf\u00e9", '"a\\b"', "x" * 201])
def test_what_is_no_key_is_refused_with_advice(header: str) -> None:
    with pytest.raises(ValueError, match="Idempotency-Key"):
        read_key(header)


def test_a_key_is_good_for_one_person_one_path_and_one_body() -> None:
    one = request_key("d-1", "/v1/trips/t-1/cancel", "k", CancelIn("late"))
    assert one == request_key("d-1", "/v1/trips/t-1/cancel", "k", CancelIn("late"))
    assert one.digest != request_key("d-1", "/v1/trips/t-1/cancel", "k", CancelIn("rain")).digest
    others = [("d-2", "/v1/trips/t-1/cancel", "k"), ("d-1", "/v1/trips/t-2/cancel", "k"), ("d-1/v1", "/trips", "k")]
    assert len({one.scope_id, *(request_key(*other, MoveIn("NEW")).scope_id for other in others)}) == 4


def test_a_trip_ordered_twice_with_one_key_has_one_id() -> None:
    assert trip_id_of("acme", "k") == trip_id_of("acme", "k")
    assert valid_id(trip_id_of("acme", "k"))
    assert len({trip_id_of("acme", "k"), trip_id_of("acme", "j"), trip_id_of("acm", "ek")}) == 3
