"""Everything but the hot route: problem documents, the clock, health, and an OpenAPI document that tells the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from ingest.admission import REASONS
from ingest.schemas import MAX_PINGS, PingIn
from ingest.tally import Tally
from tests.ingest import wire
from tests.ingest.producer import RecordingProducer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    producer = RecordingProducer()
    app = wire.app(wire.route(producer), producer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/v1/nothing", 404), ("GET", "/v1/pings/", 404), ("DELETE", "/v1/clock", 405)],
)
async def test_fastapis_own_errors_are_problem_documents(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    if status == 405:
        assert response.headers["allow"] == "GET"


async def test_the_clock_says_what_it_is_and_what_time(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/clock")).json()
    assert answer["clock"] == "wall"
    assert abs(answer["now_ms"] - wire.now_ms()) < 5_000


async def test_readiness_says_what_is_missing() -> None:
    producer = RecordingProducer(refuses="no Kafka broker listens at nowhere")
    app = wire.app(wire.route(producer), producer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert "nowhere" in response.json()["detail"]


async def test_the_openapi_document_describes_the_pings_route(client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    post = document["paths"]["/v1/pings"]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]
    assert body["oneOf"][1]["maxItems"] == MAX_PINGS
    schemas = document["components"]["schemas"]
    assert set(schemas["PingIn"]["properties"]) == set(PingIn.__struct_fields__)
    assert set(schemas["PingIn"]["required"]) == {"fix_time_ms", "lat", "lon"}
    assert set(post["responses"]) == {"202", "400", "401", "403", "405", "408", "413", "415", "422", "503"}
    text = msgspec.json.encode(document).decode()
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in schemas


def test_every_reason_is_counted_from_the_start_and_metrics_add_up() -> None:
    tally = Tally()
    tally.received, tally.accepted, tally.unacknowledged = 6, 3, 1
    tally.rejected["too_old"] = 2
    samples = [sample for metric in tally.collect() for sample in metric.samples]
    pings = [sample for sample in samples if sample.name == "ride_pings_total"]
    [received] = [sample.value for sample in samples if sample.name == "ride_pings_received_total"]
    assert sum(sample.value for sample in pings) == received == 6
    assert {each.labels["reason"] for each in pings if each.labels["verdict"] == "rejected"} == set(REASONS)


def test_a_histogram_counts_every_observation_once() -> None:
    tally = Tally()
    for seconds in (0.0, 0.001, 0.0011, 3.0, 99.0):
        tally.answered.observe(seconds)
    rows = dict(tally.answered.buckets())
    assert (rows["0.001"], rows["0.0025"], rows["2.5"], rows["5.0"], rows["+Inf"]) == (2, 3, 3, 4, 5)
