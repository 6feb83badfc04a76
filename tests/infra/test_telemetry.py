"""What a log line may hold."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.identity import mint
from infra.telemetry import JsonFormatter, redact

LAT = st.floats(min_value=-90, max_value=90).map(lambda degrees: f"{degrees:.6f}")
LON = st.floats(min_value=-180, max_value=180).map(lambda degrees: f"{degrees:.6f}")
#: Words around a secret; none of them is one.
PROSE = st.text(st.characters(categories=["L", "Zs", "Po"]))


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "test"})
    vars(made).update(extra)
    return made


@given(PROSE, LAT, LON, PROSE)
def test_no_coordinate_passes_redaction(before: str, lat: str, lon: str, after: str) -> None:
    shown = redact(f"{before}({lat}, {lon}){after}")
    assert lat not in shown
    assert lon not in shown


@given(PROSE, st.text(min_size=1), PROSE)
def test_no_token_passes_redaction(before: str, subject: str, after: str) -> None:
    token = mint("a-key-for-tests-that-is-long-enough!", "HS256", "ingest", subject, "driver", 0, 60)
    shown = redact(f"{before} Bearer {token} {after}")
    assert not any(part in shown for part in token.split("."))


def test_ordinary_words_and_numbers_are_left_alone() -> None:
    line = "driver.pings: 12 frames in 3.25 s at 127.0.0.1:9092, version 9.1.2, offset 81276000"
    assert redact(line) == line


@pytest.mark.parametrize("name", ["lat", "lon", "LAT", "authorization", "token", "jwt_key", "body"])
def test_a_field_that_names_a_secret_is_blanked_whatever_it_holds(name: str) -> None:
    line = json.loads(JsonFormatter("ingest").format(record("said", **{name: 41})))
    assert line[name] == "[redacted]"


def test_a_traceback_is_redacted_too() -> None:
    try:
        raise ValueError("no road at 41.148320, -8.610990")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    text = JsonFormatter("ingest").format(failed)
    assert "41.148" not in text
    assert "ValueError: no road at [number], [number]" in text


def test_a_log_line_is_one_json_object_with_the_service_and_the_extra_fields() -> None:
    text = JsonFormatter("push").format(record("slow\nrider", session="s-1", waiting=3))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["service"], line["event"], line["session"], line["waiting"]) == ("push", "slow\nrider", "s-1", 3)
