"""POST /v1/pings as a client sees it: verdicts, sums, refusals. Over the app, without a socket."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clock import ReplayClock
from ingest.admission import REASONS
from ingest.tally import Tally
from tests.ingest import wire
from tests.ingest.producer import RecordingProducer
from tests.ingest.test_schemas import JSON, PINGISH
from tests.ingest.wire import encoded, headers, ping, token


async def post(
    body: bytes,
    producer: RecordingProducer | None = None,
    tally: Tally | None = None,
    sent: Mapping[str, str | bytes] | None = None,
    method: str = "POST",
    **route: Any,
) -> httpx.Response:
    producer = producer or RecordingProducer()
    app = wire.app(wire.route(producer, tally, **route), producer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        return await client.request(
            method, "/v1/pings", content=body, headers=_bytes(headers() if sent is None else sent)
        )


def _bytes(fields: Mapping[str, str | bytes]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in fields.items()]


def assert_problem(response: httpx.Response, status: int, slug: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


def sums(tally: Tally) -> tuple[int, int]:
    return tally.received, tally.accepted + sum(tally.rejected.values()) + tally.unacknowledged


async def test_each_ping_of_a_batch_gets_its_verdict_in_order() -> None:
    producer = RecordingProducer()
    batch = [ping(ping_id="a"), ping(ping_id="b", lat=91), ping(), ping(ping_id="c", lat="north"), ping(lat=0, lon=0)]
    response = await post(encoded({"pings": batch}), producer)
    assert response.status_code == 202
    answer = response.json()
    assert (answer["received"], answer["accepted"], answer["rejected"]) == (5, 2, 3)
    assert [
        (one.get("ping_id"), one["status"], one.get("reason")) for one in answer["results"]
    ] == [
        ("a", "accepted", None),
        ("b", "rejected", "out_of_range"),
        (None, "accepted", None),
        ("c", "rejected", "malformed"),
        (None, "rejected", "null_island"),
    ]  # fmt: skip
    assert [one.ping_id for one in producer.pings] == ["a", ""]
    assert all(one.driver_id == "driver-1" for one in producer.pings)


@pytest.mark.parametrize("body", [ping(), [ping()], {"pings": [ping()]}])
async def test_one_ping_in_any_form_is_answered_alike(body: Any) -> None:
    response = await post(encoded(body))
    assert response.json() == {"received": 1, "accepted": 1, "rejected": 0, "results": [{"status": "accepted"}]}


@pytest.mark.parametrize(
    ("members", "loc"),
    [
        ({"lat": "41.157944"}, "lat"),
        ({"lon": None}, "lon"),
        ({"fix_time_ms": None}, "fix_time_ms"),
        ({"fix_time_ms": 41.157944}, "fix_time_ms"),
        ({"heading_deg": {"lat": 41.157944}}, "heading_deg"),
        ({"ping_id": 41.157944}, "ping_id"),
        ({"ping_id": "41.157944!"}, "ping_id"),
        ({"vehicle_type": "41.157944"}, "vehicle_type"),
        ({"vehicle_state": "41.157944"}, "vehicle_state"),
    ],
)
async def test_one_malformed_ping_is_422_alone_and_a_verdict_in_a_batch(members: dict[str, Any], loc: str) -> None:
    tally, one = Tally(), {**ping(), **members}
    one = {name: value for name, value in one.items() if value is not None}
    response = await post(encoded(one), tally=tally)
    assert_problem(response, 422, "malformed-ping")
    [error] = response.json()["errors"]
    assert error["loc"] == loc
    assert loc in error["detail"]
    assert "157944" not in response.text
    assert (tally.received, tally.rejected["malformed"], tally.requests) == (1, 1, {422: 1})
    for batch in ([one], {"pings": [one]}):
        response = await post(encoded(batch), tally=tally)
        assert response.status_code == 202
        assert response.json()["results"][0]["reason"] == "malformed"
    assert sums(tally) == (3, 3)


async def test_a_fleets_one_ping_with_a_bad_driver_id_is_422() -> None:
    response = await post(encoded(ping(driver_id="no spaces please")), sent=headers(token("acme", "fleet")))
    assert_problem(response, 422, "malformed-ping")
    assert response.json()["errors"][0]["loc"] == "driver_id"
    assert "spaces" not in response.text


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"lat": 91}, "out_of_range"),
        ({"lat": 0, "lon": 0}, "null_island"),
        ({"fix_time_ms": 1}, "too_old"),
        ({"fix_time_ms": 10**15}, "future_fix"),
        ({"accuracy_m": -1}, "low_accuracy"),
        ({"is_mock": True}, "mock_location"),
        ({"driver_id": "driver-2"}, "driver_mismatch"),
    ],
)
async def test_one_well_formed_ping_that_is_not_credible_gets_its_verdict(members: dict[str, Any], reason: str) -> None:
    response = await post(encoded(ping(**members)))
    assert (response.status_code, response.json()["results"][0]["reason"]) == (202, reason)


@pytest.mark.parametrize("spoiler", ["NaN", "Infinity", "-Infinity", '"\\ud800"', "[" * 100_000 + "]" * 100_000])
async def test_what_is_not_json_refuses_the_whole_batch_and_stores_nothing(spoiler: str) -> None:
    """What docs/wire/pings.md warns of, next to its promise for pings that are JSON."""
    producer = RecordingProducer()
    batch = encoded([ping(ping_id="a"), ping(ping_id="b", accuracy_m=8.25)]).replace(b"8.25", spoiler.encode())
    assert_problem(await post(batch, producer), 400, "invalid-json")
    assert producer.pings == []


async def test_a_batch_of_nothing_is_answered_without_kafka() -> None:
    response = await post(b"[]", RecordingProducer(acknowledges=None))
    assert (response.status_code, response.json()["received"]) == (202, 0)


async def test_a_fleet_posts_for_many_drivers() -> None:
    producer = RecordingProducer()
    batch = [ping(driver_id="a"), ping(driver_id="b"), ping()]
    response = await post(encoded(batch), producer, sent=headers(token("acme", "fleet")))
    assert [one.get("reason") for one in response.json()["results"]] == [None, None, "missing_driver_id"]
    assert [one.driver_id for one in producer.pings] == ["a", "b"]


async def test_a_driver_cannot_post_for_another() -> None:
    producer = RecordingProducer()
    response = await post(encoded([ping(driver_id="driver-2"), ping(driver_id="driver-1")]), producer)
    assert [one.get("reason") for one in response.json()["results"]] == ["driver_mismatch", None]
    assert [one.driver_id for one in producer.pings] == ["driver-1"]


#: {"alg":"none"}, and all the claims that a driver's token needs.
UNSIGNED = (
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
    "eyJzdWIiOiJkcml2ZXItMSIsImF1ZCI6ImluZ2VzdCIsInNjb3BlIjoiZHJpdmVyIiwiZXhwIjo0MTAyNDQ0ODAwfQ."
)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic ZHJpdmVyOnB3",
        "Bearer not.a.token",
        "Bearer é",
        f"Bearer {UNSIGNED}",
        f"Bearer {token(key='somebody else has another key, 32 bytes')}",
        f"Bearer {token(audience='rider')}",
        f"Bearer {token(lifetime_s=-60)}",
        f"Bearer {token()}x",
        f"Bearer {token()[:-4]}AAAA",
        "Bearer " + "x" * 10_000,
    ],
)
async def test_a_request_without_a_good_token_is_401_and_stores_nothing(authorization: str | None) -> None:
    producer, tally = RecordingProducer(), Tally()
    sent: dict[str, str | bytes] = {"content-type": "application/json"}
    if authorization is not None:
        sent["authorization"] = authorization.encode("latin-1")
    response = await post(encoded(ping()), producer, tally, sent)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert producer.pings == []
    assert sums(tally) == (0, 0)


@pytest.mark.parametrize("bearer", [token(scope=""), token(scope="rider"), token(subject="no spaces please")])
async def test_a_token_that_may_not_post_is_403(bearer: str) -> None:
    assert_problem(await post(encoded(ping()), sent=headers(bearer)), 403, "forbidden")


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        ({"content-type": "text/plain"}, 415, "unsupported-media-type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        ({"content-type": ""}, 415, "unsupported-media-type"),
        ({"content-encoding": "gzip"}, 415, "unsupported-media-type"),
        ({"content-type": "Application/JSON; charset=utf-8"}, 202, ""),
    ],
)
async def test_only_plain_json_is_read(sent: dict[str, str], status: int, slug: str) -> None:
    response = await post(encoded(ping()), sent={**headers(), **sent})
    assert response.status_code == status
    if slug:
        assert_problem(response, status, slug)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_any_other_method_is_405_and_says_what_is_allowed(method: str) -> None:
    response = await post(b"", method=method)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


async def test_a_body_over_one_mebibyte_is_413() -> None:
    body = encoded([ping(app="x" * 1_100_000)])
    assert_problem(await post(body), 413, "body-too-large")

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    producer = RecordingProducer()
    app = wire.app(wire.route(producer), producer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        assert_problem(await client.post("/v1/pings", content=chunks(), headers=headers()), 413, "body-too-large")


async def test_a_thousand_and_one_pings_are_413() -> None:
    assert_problem(await post(encoded([ping()] * 1_001)), 413, "too-many-pings")


@pytest.mark.parametrize(
    "producer",
    [
        RecordingProducer(acknowledges=False),
        RecordingProducer(overloaded=True),
        RecordingProducer(refuses="no Kafka broker listens"),
    ],
)
async def test_without_kafkas_acknowledgement_the_answer_is_503_and_when_to_come_back(
    producer: RecordingProducer,
) -> None:
    tally = Tally()
    response = await post(encoded([ping(), ping(lat=91)]), producer, tally)
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    received, answered = sums(tally)
    assert received == answered == tally.unacknowledged


async def test_a_refusal_comes_before_anything_is_asked() -> None:
    response = await post(b"", RecordingProducer(refuses="away"), sent={})
    assert response.status_code == 503


async def test_an_error_of_ours_is_a_problem_document_and_holds_nothing_of_the_ping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(RecordingProducer):
        def send(self, pings: Any, acknowledged: Any) -> None:
            raise RuntimeError(f"could not store {pings}")

    tally = Tally()
    with caplog.at_level(logging.DEBUG):
        response = await post(encoded(ping()), Broken(), tally)
    assert_problem(response, 500, "internal")
    assert sums(tally) == (1, 1)
    assert str(wire.LAT) not in response.text + caplog.text


async def test_a_replayed_recording_is_judged_by_its_own_time() -> None:
    start_ms = 1_399_939_338_000
    clock = ReplayClock(start_ms, start_ms + 86_400_000, 600.0, int(time.time() * 1000))
    response = await post(encoded([ping(fix_time_ms=start_ms), ping()]), clock=clock)
    assert [one.get("reason") for one in response.json()["results"]] == [None, "future_fix"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300) | JSON.map(encoded) | st.lists(PINGISH | JSON, max_size=8).map(encoded))
async def test_junk_is_answered_4xx_or_ping_by_ping_and_the_counters_add_up(body: bytes) -> None:
    tally, producer = Tally(), RecordingProducer()
    response = await post(body, producer, tally)
    assert response.status_code in (202, 400, 422)
    received, answered = sums(tally)
    assert received == answered
    if response.status_code == 202:
        answer = response.json()
        assert answer["received"] == len(answer["results"]) == answer["accepted"] + answer["rejected"] == received
        assert answer["accepted"] == len(producer.pings) == tally.accepted
        for one in answer["results"]:
            assert one["status"] in ("accepted", "rejected")
            assert (one["status"] == "rejected") == (one.get("reason") in REASONS) == bool(one.get("detail"))
    elif response.status_code == 422:
        assert (received, tally.rejected["malformed"], producer.pings) == (1, 1, [])
    else:
        assert received == 0
        assert json.loads(response.text)["status"] == 400
