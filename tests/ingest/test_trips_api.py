"""The trip API as its callers see it: what may be done, by whom, how often. A real Redis, over the app."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import msgspec
import pytest
import redis.asyncio

from infra.redis import connect
from ingest.trip_schemas import MAX_POLYLINE, MAX_WAYPOINTS, TripIn, TripOut
from tests.ingest import wire
from tests.ingest.trips import LINE, Api, headers, order, trip_api
from tests.ingest.wire import token

DRIVER, RIDER = token("d-1"), token("r-1", "rider")


@pytest.fixture
async def api(client: redis.asyncio.Redis) -> AsyncIterator[Api]:
    async with trip_api(client) as api:
        yield api


async def test_a_trip_is_made_driven_and_read_by_its_three_parties(api: Api) -> None:
    made = await api.create(trip_id="t-1", waypoints=[{"lat": 41.18, "lon": -8.61}], approach=LINE, route=LINE)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/trips/t-1")
    assert made.headers["cache-control"] == "no-store"
    assert made.json() == (await api.get("t-1")).json()
    assert made.json()["pickup"] == order()["pickup"]
    states = [made.json()["state"]]
    while allowed := (trip := (await api.get("t-1", DRIVER)).json())["allowed"]:
        moved = await api.move("t-1", allowed[0], DRIVER)
        assert moved.status_code == 200
        assert moved.json()["version"] == trip["version"] + 1
        states.append(moved.json()["state"])
        assert (await api.get("t-1", RIDER)).json() == moved.json()
    assert states == [
        "NEW",
        "ENROUTE_TO_PICKUP",
        "ARRIVED_AT_PICKUP",
        "ENROUTE_TO_INTERMEDIATE_DESTINATION",
        "ARRIVED_AT_INTERMEDIATE_DESTINATION",
        "ENROUTE_TO_DROPOFF",
        "COMPLETE",
    ]
    assert [each.version for each in api.kafka.published] == [1, 2, 3, 4, 5, 6, 7]
    assert [each["event_id"] for each in moved.json()["history"]] == [f"v{number}" for number in range(1, 8)]


async def test_a_trip_without_an_id_gets_one(api: Api) -> None:
    assert (await api.create()).json()["trip_id"] == "made-1"
    by_key = [(await api.create(key="k-1")).json()["trip_id"] for _ in range(2)]
    assert by_key[0] == by_key[1] != (await api.create(key="k-2")).json()["trip_id"]


async def test_an_illegal_transition_says_how_the_trip_stands(api: Api) -> None:
    await api.create(trip_id="t-1")
    refused = await api.move("t-1", "ENROUTE_TO_DROPOFF", DRIVER)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["type"] == "/problems/illegal-transition"
    assert (problem["state"], problem["version"], problem["allowed"]) == ("NEW", 1, ["ENROUTE_TO_PICKUP", "CANCELED"])
    assert (await api.post("t-1", "cancel", DRIVER, reason="no show")).json()["history"][-1]["reason"] == "no show"
    assert (await api.post("t-1", "cancel", DRIVER)).json()["allowed"] == []
    assert (await api.post("t-1", "reassign", driver_id="d-2")).status_code == 409
    assert len(api.kafka.published) == 2


async def test_cancel_needs_no_body(api: Api) -> None:
    await api.create(trip_id="t-1")
    canceled = await api.http.post("/v1/trips/t-1/cancel", headers={"authorization": headers()["authorization"]})
    assert canceled.json()["state"] == "CANCELED"


async def test_a_driver_cannot_see_or_move_anothers_trip_and_is_told_nothing(api: Api) -> None:
    await api.create(trip_id="t-1")
    other = token("d-2")
    unknown = (await api.get("t-none", other)).json()
    for answer in (
        await api.get("t-1", other),
        await api.move("t-1", "ENROUTE_TO_PICKUP", other),
        await api.move("t-none", "ENROUTE_TO_PICKUP", other),
        await api.post("t-1", "cancel", other),
        await api.get("t-1", token("r-2", "rider")),
        await api.get("not%20an%20id", other),
    ):
        assert (answer.status_code, answer.json()) == (404, unknown)
    assert (await api.get("t-1")).json()["version"] == 1


async def test_a_driver_who_gave_a_trip_away_has_no_part_in_it_and_the_new_one_does(api: Api) -> None:
    await api.create(trip_id="t-1")
    await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="k")
    given = await api.post("t-1", "reassign", driver_id="d-2", approach=LINE, reason="flat tyre")
    assert (given.json()["state"], given.json()["assignment"], given.json()["approach"]) == ("NEW", 2, LINE)
    assert (await api.get("t-1", DRIVER)).status_code == 404
    assert (await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER)).status_code == 404
    assert (await api.move("t-1", "ENROUTE_TO_PICKUP", token("d-2"))).status_code == 200
    again = await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="k")
    assert (again.status_code, again.json()["version"]) == (200, 2), "what was done for them stays done"


async def test_each_scope_may_do_its_own_and_no_more(api: Api) -> None:
    await api.create(trip_id="t-1")
    fleet = token("acme", "fleet")
    attempts: list[tuple[httpx.Response, str]] = [
        (await api.create(DRIVER), "dispatch"),
        (await api.create(RIDER), "dispatch"),
        (await api.post("t-1", "reassign", DRIVER, driver_id="d-1"), "dispatch"),
        (await api.move("t-1", "ENROUTE_TO_PICKUP", RIDER), "dispatch driver"),
        (await api.post("t-1", "cancel", RIDER), "dispatch driver"),
        (await api.post("t-1", "cancel", fleet), "dispatch driver"),
        (await api.get("t-1", fleet), "dispatch driver rider"),
    ]
    for refused, scopes in attempts:
        assert refused.status_code == 403
        assert f'scope="{scopes}"' in refused.headers["www-authenticate"]
    assert (await api.get("t-1")).json()["version"] == 1


async def test_a_bad_token_opens_nothing(api: Api) -> None:
    await api.create(trip_id="t-1")
    claims = {"sub": "acme", "aud": "ingest", "scope": "dispatch", "exp": time.time() + 600}
    bad = {
        "forged": token("acme", "dispatch", key="another key that is long enough to be one"),
        "expired": token("acme", "dispatch", lifetime_s=-60),
        "of the riders' side": token("acme", "dispatch", audience="rider"),
        "of a share link": token("share:1", "dispatch", audience="share"),
        "alg none": jwt.encode(claims, "", algorithm="none"),
        "no token": "x",
    }
    for name, bearer in bad.items():
        for refused in (
            await api.create(bearer, trip_id="t-2"),
            await api.get("t-1", bearer),
            await api.move("t-1", "ENROUTE_TO_PICKUP", bearer),
            await api.post("t-1", "cancel", bearer),
            await api.post("t-1", "reassign", bearer, driver_id="d-2"),
        ):
            assert refused.status_code == 401, name
            assert refused.json()["type"] == "/problems/unauthorized"
    assert (await api.http.get("/v1/trips/t-1")).status_code == 401
    assert (await api.get("t-1")).json()["version"] == 1
    assert (await api.get("t-2")).status_code == 404


@pytest.mark.parametrize(
    ("members", "loc"),
    [
        ({"driver_id": None}, "driver_id"),
        ({"driver_id": "two words"}, "driver_id"),
        ({"rider_id": "r-1\n"}, "rider_id"),
        ({"trip_id": "x" * 65}, "trip_id"),
        ({"pickup": {"lat": 91, "lon": 0}}, "pickup.lat"),
        ({"dropoff": {"lat": 41}}, "dropoff.lon"),
        ({"pickup": {"lat": 0, "lon": 0}}, "pickup"),
        ({"pickup": {"lat": 41, "lon": -8, "name": "x" * 201}}, "pickup.name"),
        ({"waypoints": [{"lat": 41, "lon": -8}] * (MAX_WAYPOINTS + 1)}, "waypoints"),
        ({"waypoints": [{"lat": 41, "lon": -8}, {"lat": 41, "lon": 181}]}, "waypoints[1].lon"),
        ({"route": "_p~iF"}, "route"),
        ({"route": "_p~iF~ps|U"}, "route"),
        ({"route": "?" * (MAX_POLYLINE + 1)}, "route"),
        ({"approach": "not a line"}, "approach"),
        ({"approach": "~~~~~~~~~~"}, "approach"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_by_its_member(api: Api, members: dict[str, Any], loc: str) -> None:
    refused = await api.create(**{"trip_id": "t-1", **members})
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/invalid-trip"
    assert [error["loc"] for error in refused.json()["errors"]] == [loc]
    assert (await api.get("t-1")).status_code == 404


async def test_all_that_is_wrong_with_an_order_is_told_at_once(api: Api) -> None:
    refused = await api.create(
        trip_id="t-1", rider_id=None, pickup={"lat": 97, "lon": "east"}, dropoff=[], approach=7, waypoints=[{"lat": 41}]
    )
    assert refused.status_code == 422
    assert {error["loc"]: error["detail"] for error in refused.json()["errors"]} == {
        "rider_id": "Object missing required field `rider_id`",
        "pickup.lat": "Expected `float` <= 90.0",
        "pickup.lon": "Expected `float`, got `str`",
        "dropoff": "Expected `object`",
        "waypoints[0].lon": "Object missing required field `lon`",
        "approach": "Expected `str | null`, got `int`",
    }


async def test_bodies_and_keys_that_are_none_are_refused_with_advice(api: Api) -> None:
    await api.create(trip_id="t-1")

    async def sent(content: bytes, path: str = "/v1/trips", **more: str) -> tuple[int, str]:
        answer = await api.http.post(path, content=content, headers={**headers(), **more})
        return answer.status_code, answer.json()["type"].removeprefix("/problems/")

    assert await sent(b"{") == (400, "invalid-json")
    assert await sent(b"") == (400, "invalid-json")
    assert await sent(b'{"x":' + b"[" * 100_000) == (400, "invalid-json")
    assert await sent(b"[]") == (422, "invalid-trip")
    assert await sent(b"\xff{}") == (400, "invalid-json")
    assert await sent(b"{}", **{"content-type": "text/plain"}) == (415, "unsupported-media-type")
    assert await sent(b" " * 1_100_000) == (413, "body-too-large")
    assert await sent(b'{"state":"FLYING"}', "/v1/trips/t-1/events") == (422, "invalid-trip")
    assert await sent(b"{}", "/v1/trips/t-1/events") == (422, "invalid-trip")
    assert await sent(b'{"reason":' + b'"x"' * 2 + b"}", "/v1/trips/t-1/cancel") == (400, "invalid-json")
    for key in ('"open', "two words", '""', '"' + "x" * 201 + '"'):
        assert await sent(b"{}", **{"idempotency-key": key}) == (400, "invalid-idempotency-key")
    deleted = await api.http.delete("/v1/trips/t-1", headers=headers())
    assert deleted.status_code == 405
    assert (await api.get("t-1")).json()["version"] == 1


async def test_the_same_request_again_gets_the_same_answer_and_is_done_once(api: Api) -> None:
    made = [await api.create(key="make", trip_id="t-1") for _ in range(3)]
    moved = [await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="go") for _ in range(3)]
    assert {each.content for each in made} == {made[0].content}
    assert {(each.status_code, each.headers["location"]) for each in made} == {(201, "/v1/trips/t-1")}
    assert {(each.status_code, each.content) for each in moved} == {(200, moved[0].content)}
    await api.post("t-1", "cancel")
    assert (await api.create(key="make", trip_id="t-1")).content == made[0].content, "also when it has gone on since"
    assert (await api.get("t-1")).json()["version"] == 3
    assert [each.version for each in api.kafka.published] == [1, 2, 3]


async def test_a_key_does_not_do_for_another_request(api: Api) -> None:
    await api.create(key="k", trip_id="t-1")
    for other in (
        await api.create(key="k", trip_id="t-1", rider_id="r-2"),
        await api.create(key="k", trip_id="t-2"),
        await api.create(key="k"),
    ):
        assert other.status_code == 422
        assert other.json()["type"] == "/problems/idempotency-key-reused"
    assert (await api.get("t-2")).status_code == 404
    await api.move("t-1", "ENROUTE_TO_PICKUP", key="k")  # another path: another request
    assert (await api.move("t-1", "ARRIVED_AT_PICKUP", key="k")).status_code == 422
    assert (await api.move("t-1", "ARRIVED_AT_PICKUP", DRIVER, key="k")).status_code == 200, "another caller's key"
    assert (await api.get("t-1")).json()["version"] == 3


async def test_an_id_that_is_taken_is_a_conflict_unless_it_is_the_same_request(api: Api) -> None:
    await api.create(trip_id="t-1", key="k")
    for again in (await api.create(trip_id="t-1"), await api.create(trip_id="t-1", key="other")):
        assert again.status_code == 409
        assert again.json()["type"] == "/problems/trip-exists"
        assert again.json()["version"] == 1


async def test_one_request_sent_many_times_at_once_is_done_once(api: Api) -> None:
    made = await asyncio.gather(*(api.create(key="make") for _ in range(20)))
    assert {(each.status_code, each.content) for each in made} == {(201, made[0].content)}
    trip_id = made[0].json()["trip_id"]
    moved = await asyncio.gather(*(api.move(trip_id, "ENROUTE_TO_PICKUP", DRIVER, key="go") for _ in range(20)))
    assert {(each.status_code, each.content) for each in moved} == {(200, moved[0].content)}
    assert (await api.get(trip_id)).json()["version"] == 2


async def test_of_commands_that_exclude_each_other_exactly_one_wins(api: Api) -> None:
    for number in range(10):
        trip_id = f"t-{number}"
        made = await asyncio.gather(*(api.create(trip_id=trip_id, rider_id=f"r-{one}") for one in range(4)))
        assert sorted(each.status_code for each in made) == [201, 409, 409, 409]
        await api.move(trip_id, "ENROUTE_TO_PICKUP")
        rivals = await asyncio.gather(
            *(api.move(trip_id, "ARRIVED_AT_PICKUP", DRIVER) for _ in range(3)),
            api.post(trip_id, "cancel"),
            *(api.post(trip_id, "reassign", driver_id=f"d-{2 + one}") for one in range(3)),
        )
        trip = (await api.get(trip_id)).json()
        won = [each for each in rivals if each.status_code == 200]
        assert len(won) == trip["version"] - 2
        assert sorted(each.json()["version"] for each in won) == list(range(3, trip["version"] + 1))
        assert {each.status_code for each in rivals} <= {200, 404, 409}
        assert [each["event_id"] for each in trip["history"]] == [f"v{at}" for at in range(1, trip["version"] + 1)]


async def test_what_kafka_may_not_have_is_given_to_it_before_anything_else_is_said(api: Api) -> None:
    await api.create(trip_id="t-1")
    api.kafka.acknowledges = False
    doubtful = await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="go")
    assert doubtful.status_code == 503
    assert int(doubtful.headers["retry-after"]) >= 1
    for nobody_knows in (
        await api.get("t-1", RIDER),
        await api.post("t-1", "cancel"),
        await api.create(trip_id="t-1"),
        await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="go"),
    ):
        assert nobody_knows.status_code == 503
    assert (await api.get("t-1", token("d-2"))).status_code == 404
    api.kafka.acknowledges = True
    again = await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER, key="go")
    assert (again.status_code, again.json()["version"]) == (200, 2)
    assert [each.version for each in api.kafka.published] == [1, 2]
    assert (await api.get("t-1", RIDER)).json() == again.json()
    assert [each.version for each in api.kafka.published] == [1, 2], "and no more often"


async def test_nothing_is_begun_while_kafka_is_known_to_be_away(api: Api) -> None:
    await api.create(trip_id="t-1")
    api.kafka.trouble = "no Kafka broker listens at nowhere"
    assert (await api.move("t-1", "ENROUTE_TO_PICKUP")).status_code == 503
    assert (await api.create(trip_id="t-2")).status_code == 503
    assert (await api.get("t-1")).json()["version"] == 1
    assert (await api.get("t-2")).status_code == 404


async def test_no_trip_is_unknown_while_a_wiped_redis_is_being_restored(client: redis.asyncio.Redis) -> None:
    async with trip_api(client, restored=False) as api:
        for answer in (
            await api.create(trip_id="t-1"),
            await api.get("t-1"),
            await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER),
        ):
            assert answer.status_code == 503
            assert "being restored" in answer.json()["detail"]
            assert "retry-after" in answer.headers
        for partition in range(8):
            await api.ledger.mark_restored(partition)
        await api.create(trip_id="t-1")
        (trip,) = api.kafka.published
        await client.flushall()
        assert (await api.get("t-1")).status_code == 503
        await api.ledger.restore([trip])
        assert (await api.get("t-1")).status_code == 503, "there may be a newer version that is still to come"
        assert (await api.create(trip_id="t-1")).status_code == 503
        for partition in range(8):
            await api.ledger.mark_restored(partition)
        assert (await api.move("t-1", "ENROUTE_TO_PICKUP", DRIVER)).json()["version"] == 2


async def test_without_redis_trips_wait_and_pings_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connect("redis://127.0.0.1:1/0", timeout_s=1.0) as nowhere, trip_api(nowhere, restored=False) as api:
        for answer in (await api.create(key="k"), await api.get("t-1"), await api.post("t-1", "cancel")):
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
        assert (await api.http.post("/v1/pings", json=wire.ping(), headers=wire.headers())).status_code == 202
        assert (await api.http.get("/readyz")).status_code == 200
        assert api.tally.trip_requests == {("create", 503): 1, ("read", 503): 1, ("cancel", 503): 1}
    assert "eyJ" not in caplog.text
    assert str(wire.LAT)[:7] not in caplog.text


async def test_the_openapi_document_describes_what_is_answered(api: Api) -> None:
    document: dict[str, Any] = (await api.http.get("/openapi.json")).json()
    paths = {path: set(methods) for path, methods in document["paths"].items() if path.startswith("/v1/trips")}
    assert paths == {
        "/v1/trips": {"post"},
        "/v1/trips/{trip_id}": {"get"},
        "/v1/trips/{trip_id}/events": {"post"},
        "/v1/trips/{trip_id}/cancel": {"post"},
        "/v1/trips/{trip_id}/reassign": {"post"},
    }
    schemas = document["components"]["schemas"]
    assert set(schemas["TripIn"]["properties"]) == set(TripIn.__struct_fields__)
    assert set(schemas["TripIn"]["required"]) == {"driver_id", "rider_id", "pickup", "dropoff"}
    assert set(schemas["TripOut"]["properties"]) == set(TripOut.__struct_fields__)
    for path in paths:
        for operation in document["paths"][path].values():
            assert {"401", "403", "503"} < set(operation["responses"])
    text = msgspec.json.encode(document).decode()
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in schemas
