"""Who may see and move a trip, on the whole system: over HTTP at ingest, over HTTP at push, over WebSocket at push."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest

from ingest.trips import ARRIVED_AT_PICKUP, ENROUTE_TO_PICKUP
from push.settings import PushSettings
from push.shares import share_key
from tests.pipeline.engines import EMBEDDED
from tests.pipeline.polling import until
from tests.pipeline.system import System
from tests.pipeline.trips import Dispatcher, Spot
from tests.push.connection import RiderApp

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

PICKUP, DROPOFF = Spot(41.1579, -8.6291), Spot(41.1779, -8.6291)
OTHER_KEY = "a key that somebody made up, and long enough"
#: From wire-facts and push/protocol.py: terminal close codes.
BAD_TOKEN, FORBIDDEN, SHARE_ENDED = 4500, 4503, 4506
ORDER = {"driver_id": "driver-1", "rider_id": "rider-1", "pickup": PICKUP._asdict(), "dropoff": DROPOFF._asdict()}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With a trip of rider-1 and driver-1, known everywhere, and its car on the way to the pickup."""

    async def begin() -> None:
        async with Dispatcher(system) as dispatcher:
            await dispatcher.create("t-1", "driver-1", "rider-1", [PICKUP, DROPOFF])
            await dispatcher.advance("t-1", ENROUTE_TO_PICKUP, "driver-1")
            at = PICKUP.towards(0.0, -500)._asdict()
            await dispatcher.ping({"driver_id": "driver-1", "fix_time_ms": int(time.time() * 1_000), **at})

    with System(EMBEDDED, tmp_path_factory.mktemp("access"), lambda: "wall") as system:
        asyncio.run(begin())
        until(lambda: "car" in read(system, rider(system)).json(), 60, "push knows the trip and its car")
        yield system


def rider(system: System, name: str = "rider-1") -> str:
    return system.token("rider", name, "rider")


def read(system: System, token: str, path: str = "/v1/trips/t-1", method: str = "GET") -> httpx.Response:
    """Ask push."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, system.push.health_url + path, headers=headers, timeout=60)


def say(system: System, token: str, path: str, body: Any = None, method: str = "POST") -> httpx.Response:
    """Ask ingest."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, system.ingest_url + path, headers=headers, json=body, timeout=60)


def claims(audience: str, subject: str, scope: str, lifetime_s: int = 600) -> dict[str, Any]:
    now_s = int(time.time())
    return {"sub": subject, "aud": audience, "scope": scope, "iat": now_s - 3_600, "exp": now_s + lifetime_s}


def unsigned(content: dict[str, Any]) -> str:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "typ": "JWT"}, content)
    )
    return f"{head}.{body}."


#: What is wrong with a token -> the token of an audience, subject and scope; the last argument is the right key.
BAD: dict[str, Callable[[str, str, str, str], str]] = {
    "forged": lambda audience, subject, scope, key: jwt.encode(claims(audience, subject, scope), OTHER_KEY),
    "expired": lambda audience, subject, scope, key: jwt.encode(claims(audience, subject, scope, -60), key),
    "alg none": lambda audience, subject, scope, key: unsigned(claims(audience, subject, scope)),
    "another audience": lambda audience, subject, scope, key: jwt.encode(
        claims({"ingest": "rider", "rider": "ingest"}[audience], subject, scope), key
    ),
    "another's claims": lambda audience, subject, scope, key: ".".join(
        (
            unsigned(claims(audience, subject, scope)).rstrip("."),
            *jwt.encode(claims(audience, "x", ""), key).split(".")[2:],
        )
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused_by_the_trip_api(system: System, kind: str) -> None:
    key = system.env["RIDESTREAM_JWT_KEY"]
    dispatch, driver, owner = (
        BAD[kind]("ingest", *whose, key)
        for whose in (("dispatch-1", "dispatch"), ("driver-1", "driver"), ("rider-1", "rider"))
    )
    requests = [
        say(system, dispatch, "/v1/trips", ORDER),
        say(system, dispatch, "/v1/trips/t-1/cancel", {}),
        say(system, dispatch, "/v1/trips/t-1/reassign", {"driver_id": "driver-2"}),
        say(system, driver, "/v1/trips/t-1/events", {"state": ARRIVED_AT_PICKUP}),
        say(system, driver, "/v1/pings", {"fix_time_ms": int(time.time() * 1_000), **PICKUP._asdict()}),
        say(system, owner, "/v1/trips/t-1", method="GET"),
    ]
    assert [answer.status_code for answer in requests] == [401] * len(requests)
    assert_untouched(system)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_reads_nothing(system: System, kind: str) -> None:
    token = BAD[kind]("rider", "rider-1", "rider dispatch", system.env["RIDESTREAM_JWT_KEY"])
    nearby = f"/v1/nearby?lat={PICKUP.lat}&lon={PICKUP.lon}&radius_m=1000"
    for path in ("/v1/trips/t-1", "/v1/trips/t-1/track", "/v1/drivers/driver-1", nearby):
        assert read(system, token, path).status_code == 401
    assert read(system, token, "/v1/trips/t-1/shares", "POST").status_code == 401


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("auth", ["header", "subprotocol", "message"])
async def test_a_bad_token_watches_nothing(system: System, kind: str, auth: str) -> None:
    token = BAD[kind]("rider", "rider-1", "rider", system.env["RIDESTREAM_JWT_KEY"])
    async with RiderApp(system.rider_url, token, auth) as app:
        assert (await app.until_closed())[0] == BAD_TOKEN
        assert app.heard == []


def test_a_rider_reads_no_trip_of_another_and_learns_not_even_that_it_is_there(system: System) -> None:
    stranger = rider(system, "rider-2")
    for path, method in (
        ("/v1/trips/{}", "GET"), ("/v1/trips/{}/track", "GET"), ("/v1/trips/{}/shares", "POST"),
        ("/v1/trips/{}/shares/s-1", "DELETE"),
    ):  # fmt: skip
        others, none = (read(system, stranger, path.format(trip_id), method) for trip_id in ("t-1", "t-9"))
        assert others.status_code == 404
        assert others.content == none.content
    owner, stranger = (system.token("ingest", name, "rider") for name in ("rider-1", "rider-2"))
    others, none = (say(system, stranger, f"/v1/trips/{trip_id}", method="GET") for trip_id in ("t-1", "t-9"))
    assert (others.status_code, others.content) == (404, none.content)
    assert say(system, owner, "/v1/trips/t-1", method="GET").json()["trip_id"] == "t-1"
    assert read(system, rider(system)).json()["trip"]["trip_id"] == "t-1"


async def test_a_rider_watches_no_trip_of_another_and_learns_not_even_that_it_is_there(system: System) -> None:
    async with RiderApp(system.rider_url, rider(system, "rider-2")) as stranger:
        await stranger.say("subscribe", channel="trip", sub="a", trip_id="t-1")
        await stranger.say("subscribe", channel="trip", sub="b", trip_id="t-9")
        await stranger.say("subscribe", channel="trip", sub="c", trip_id="t-1", recover={"epoch": "1", "offset": 0})
        answers = [await stranger.told("error", sub=sub) for sub in "abc"]
        assert [answer["code"] for answer in answers] == ["unknown_trip"] * 3
        assert len({answer["detail"] for answer in answers}) == 1
        assert not [message for message in stranger.heard if message["type"].startswith("trip")]
    async with RiderApp(system.rider_url, rider(system)) as owner:
        await owner.say("subscribe", channel="trip", sub="mine", trip_id="t-1")
        assert (await owner.told("trip_snapshot", sub="mine"))["trip"]["rider_id"] == "rider-1"


def test_a_driver_moves_no_trip_of_another(system: System) -> None:
    stranger = system.token("ingest", "driver-2", "driver")
    for verb, body in (("events", {"state": ARRIVED_AT_PICKUP}), ("cancel", {})):
        others, none = (say(system, stranger, f"/v1/trips/{trip_id}/{verb}", body) for trip_id in ("t-1", "t-9"))
        assert (others.status_code, others.content) == (404, none.content)
    assert say(system, stranger, "/v1/trips/t-1", method="GET").status_code == 404
    assert_untouched(system)


@pytest.mark.parametrize("scope", ["driver", "rider", "fleet"])
def test_who_is_not_dispatch_orders_no_trip_and_gives_none_away(system: System, scope: str) -> None:
    token = system.token("ingest", "driver-1" if scope == "driver" else "rider-1", scope)
    assert say(system, token, "/v1/trips", ORDER).status_code == 403
    assert say(system, token, "/v1/trips/t-1/reassign", {"driver_id": "driver-2"}).status_code == 403
    if scope != "driver":
        assert say(system, token, "/v1/trips/t-1/events", {"state": ARRIVED_AT_PICKUP}).status_code == 403
        assert say(system, token, "/v1/trips/t-1/cancel", {}).status_code == 403
    assert_untouched(system)


def shared(system: System) -> dict[str, Any]:
    answer = read(system, rider(system), "/v1/trips/t-1/shares", "POST")
    assert answer.status_code == 201, answer.text
    link: dict[str, Any] = answer.json()
    return link


def revoke(system: System, link: dict[str, Any]) -> None:
    assert read(system, rider(system), f"/v1/trips/t-1/shares/{link['share_id']}", "DELETE").status_code == 204


async def test_a_revoked_link_is_refused_and_its_viewer_is_cut_off(system: System) -> None:
    link = shared(system)
    async with RiderApp(system.rider_url, link["token"]) as viewer:
        await viewer.say("subscribe", channel="trip", sub="shared", trip_id="t-1")
        told = await viewer.told("trip_snapshot", sub="shared")
        assert "rider_id" not in told["trip"]
        revoke(system, link)
        assert (await viewer.until_closed())[0] == SHARE_ENDED
        assert viewer.heard[-1]["type"] == "trip_ended"
        assert viewer.heard[-1]["reason"] == "revoked"
    assert read(system, link["token"]).status_code == 410
    async with RiderApp(system.rider_url, link["token"]) as viewer:
        await viewer.say("subscribe", channel="trip", sub="shared", trip_id="t-1")
        assert (await viewer.until_closed())[0] == SHARE_ENDED
        assert not [message for message in viewer.heard if message["type"] == "trip_snapshot"]


async def test_a_link_shows_its_trip_and_nothing_else(system: System) -> None:
    link = shared(system)
    token = link["token"]
    assert read(system, token).status_code == 200
    assert read(system, token, "/v1/trips/t-9").status_code == 404
    assert read(system, token, "/v1/trips/t-1/track").status_code == 403
    assert read(system, token, "/v1/trips/t-1/shares", "POST").status_code == 403
    assert read(system, token, f"/v1/trips/t-1/shares/{link['share_id']}", "DELETE").status_code == 403
    for answer in (
        say(system, token, "/v1/trips", ORDER),
        say(system, token, "/v1/trips/t-1/cancel", {}),
        say(system, token, "/v1/trips/t-1", method="GET"),
    ):
        assert answer.status_code == 401, "a link is nobody at ingest"
    async with RiderApp(system.rider_url, token) as viewer:
        await viewer.say("subscribe", sub="map", lat=PICKUP.lat, lon=PICKUP.lon, radius_m=1_000)
        assert (await viewer.told("error", sub="map"))["code"] == "not_allowed"
        await viewer.say("subscribe", channel="trip", sub="other", trip_id="t-9")
        assert (await viewer.told("error", sub="other"))["code"] == "unknown_trip"
    revoke(system, link)


@pytest.mark.parametrize("kind", ["forged", "expired", "alg none"])
async def test_a_link_that_was_tampered_with_is_refused(system: System, kind: str) -> None:
    link = shared(system)
    content = jwt.decode(link["token"], options={"verify_signature": False})
    jwt_key = system.env["RIDESTREAM_JWT_KEY"]
    bad = {
        # Who signs riders' tokens does not sign links: it would be good for ever.
        "forged": lambda: jwt.encode(content, jwt_key),
        "expired": lambda: jwt.encode(
            content | {"exp": int(time.time()) - 60}, share_key(PushSettings(jwt_key=jwt_key))
        ),
        "alg none": lambda: unsigned(content),
    }[kind]()
    assert read(system, bad).status_code == 401
    async with RiderApp(system.rider_url, bad) as viewer:
        assert (await viewer.until_closed())[0] == BAD_TOKEN
    revoke(system, link)


def assert_untouched(system: System) -> None:
    """Nobody has moved the trip since it began."""
    trip = say(system, system.token("ingest", "dispatch-1", "dispatch"), "/v1/trips/t-1", method="GET").json()
    assert (trip["state"], trip["version"], trip["driver_id"]) == (ENROUTE_TO_PICKUP, 2, "driver-1")
