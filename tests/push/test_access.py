"""Who may read what over HTTP: every kind of bad token, every wrong scope, every trip that is somebody else's."""

from __future__ import annotations

import asyncio
import base64

import jwt
import pytest

from infra.local.engines import Engine
from stream.trip_channels import TrackFix
from tests.push.bad_tokens import BAD_TOKENS, OTHER_KEY, RSA_KEY, RSA_PUBLIC, b64, claims, signed
from tests.push.city import MANHATTAN
from tests.push.read_api import NOW_MS, WALL_S, ReadApi, assert_problem, trip_of

NEARBY = f"/v1/nearby?lat={MANHATTAN[0]}&lon={MANHATTAN[1]}&radius_m=100"
TRIP, TRACK, SHARES = "/v1/trips/t-1", "/v1/trips/t-1/track", "/v1/trips/t-1/shares"
DRIVER = "/v1/drivers/d-1"
#: Everything there is to ask for.
ALL = [("GET", NEARBY), ("GET", TRIP), ("GET", TRACK), ("GET", DRIVER), ("POST", SHARES), ("DELETE", f"{SHARES}/s-1")]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_everywhere(engine: Engine, kind: str) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        for method, path in ALL:
            answer = await api.ask(method, path, BAD_TOKENS[kind](WALL_S))
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith('Bearer realm="ridestream"')


async def test_the_same_claims_well_signed_are_taken(engine: Engine) -> None:
    """Or all of the above would be refused for another reason."""
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        for method, path in ALL:
            assert (await api.ask(method, path, signed(WALL_S))).status_code in (200, 201, 204)


async def test_a_public_key_is_no_secret_to_sign_with(engine: Engine) -> None:
    """The old trick: HS256 with the bytes of the RSA key that everybody knows."""
    async with ReadApi(engine, jwt_algorithm="RS256", jwt_key=RSA_PUBLIC.decode(), share_key=OTHER_KEY) as api:
        await api.put_trip(trip_of(), api.car())
        head, payload = b64({"alg": "HS256", "typ": "JWT"}), b64(claims(WALL_S))
        algorithm = jwt.get_algorithm_by_name("HS256")
        digest = algorithm.sign(f"{head}.{payload}".encode(), RSA_PUBLIC)
        forged = f"{head}.{payload}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
        assert_problem(await api.get(TRIP, forged), 401)
        rider = signed(WALL_S, RSA_KEY, "RS256")
        assert (await api.get(TRIP, rider)).status_code == 200
        link = (await api.ask("POST", SHARES, rider)).json()
        assert (await api.get(TRIP, link["token"])).status_code == 200


async def test_a_token_in_the_address_is_not_looked_at(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        for path in (f"{TRIP}?token={signed(WALL_S)}", f"{TRIP}?access_token={signed(WALL_S)}"):
            assert_problem(await api.get(path), 401)
        basic = base64.b64encode(f"rider-1:{signed(WALL_S)}".encode()).decode()
        assert_problem(await api.get(TRIP, authorization=f"Basic {basic}"), 401)


@pytest.mark.parametrize("path", [TRIP, TRACK])
async def test_a_rider_cannot_tell_anothers_trip_from_none(engine: Engine, path: str) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car(), [TrackFix(NOW_MS, *MANHATTAN)])
        assert (await api.get(path, api.token("rider-1"))).status_code == 200
        others = await api.get(path, api.token("rider-2"))
        none = await api.get(path.replace("t-1", "t-9"), api.token("rider-2"))
        assert_problem(others, 404, "not-found")
        assert (others.content, dict(others.headers)) == (none.content, dict(none.headers))


async def test_a_rider_cannot_share_anothers_trip_nor_revoke_its_links(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        link = await api.share()
        stranger = api.token("rider-2")
        assert_problem(await api.ask("POST", SHARES, stranger), 404, "not-found")
        assert_problem(await api.ask("DELETE", f"{SHARES}/{link['share_id']}", stranger), 404, "not-found")
        assert (await api.get(TRIP, link["token"])).status_code == 200


async def test_a_driver_is_not_a_rider_of_its_trip(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        for scopes in ("driver", "fleet", "", "riders", "dispatcher"):
            for method, path in ALL:
                answer = await api.ask(method, path, api.token("d-1", scopes))
                assert_problem(answer, 403, "forbidden")
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert_problem(await api.get(TRIP, api.token("d-1")), 404)


async def test_dispatch_reads_every_trip_and_only_dispatch_asks_about_drivers(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        for path in (TRIP, TRACK, DRIVER, NEARBY):
            assert (await api.get(path, api.token("ops", "dispatch"))).status_code == 200
        assert_problem(await api.get(DRIVER, api.token()), 403)


async def test_the_holder_of_a_link_reads_its_one_trip_and_nothing_else(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        await api.put_trip(trip_of("t-2"), api.car())
        token = (await api.share())["token"]
        assert (await api.get(TRIP, token)).status_code == 200
        assert_problem(await api.get("/v1/trips/t-2", token), 404, "not-found")
        assert_problem(await api.get("/v1/trips/t-9", token), 404, "not-found")
        for method, path in ALL:
            if path != TRIP:
                assert_problem(await api.ask(method, path, token), 403, "forbidden")


async def test_an_id_that_is_none_is_an_unknown_trip(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        for name in ("a%20b", "%7Bt%7D", "a" * 65, "..%2f", "%00", "%F0%9F%9A%95"):
            answer = await api.get(f"/v1/trips/{name}", api.token())
            assert_problem(answer, 404, "not-found")


async def test_a_trip_that_is_about_to_be_known_is_waited_for_and_anothers_as_long(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest says 201 before the stream job has written the trip, and after a loss Redis is told it anew."""
    monkeypatch.setattr("push.access.UNKNOWN_WAIT_S", 60.0)
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of("t-2", rider_id="rider-2"))
        paths = (TRIP, TRACK, "/v1/trips/t-2")
        asked = [asyncio.create_task(api.get(path, api.token())) for path in paths]
        asked.append(asyncio.create_task(api.ask("POST", SHARES, api.token())))
        await asyncio.wait(asked, timeout=0.2)
        assert not any(each.done() for each in asked)
        await api.put_trip(trip_of())
        others = asked.pop(2)
        assert [(await each).status_code for each in asked] == [200, 200, 201]
        assert not others.done()
        others.cancel()


async def test_others_trips_and_none_are_refused_after_the_same_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.access.UNKNOWN_WAIT_S", 0.3)
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(rider_id="rider-2"))
        for path in (TRIP, "/v1/trips/t-9"):
            begun_s = asyncio.get_running_loop().time()
            assert_problem(await api.get(path, api.token()), 404, "not-found")
            assert asyncio.get_running_loop().time() - begun_s >= 0.3


async def test_no_more_wait_than_may_and_the_next_is_refused_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.access.UNKNOWN_WAIT_S", 60.0)
    monkeypatch.setattr("push.access.MAX_WAITING", 2)
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(rider_id="rider-2"))
        asked = [asyncio.create_task(api.get(path, api.token())) for path in (TRIP, "/v1/trips/t-9", TRIP)]
        (refused,), waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert_problem(await refused, 404, "not-found")
        assert_problem(await api.get("/v1/trips/t-8", api.token()), 404, "not-found")
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        assert (await api.get(TRIP, api.token("rider-2"))).status_code == 200
