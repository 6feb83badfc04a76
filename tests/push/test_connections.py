"""Who may connect, how connections end, and with which code."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from push.protocol import (
    BAD_REQUEST,
    BAD_TOKEN,
    DRAINING,
    FORBIDDEN,
    NEVER_AUTHENTICATED,
    NO_PONG,
    RATE_LIMITED,
    SUBPROTOCOL,
    TOKEN_EXPIRED,
    TOO_MANY_CONNECTIONS,
)
from push.session import MAX_BAD_MESSAGES
from tests.push.city import MANHATTAN
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token


@pytest.mark.parametrize("auth", ["header", "subprotocol", "message"])
async def test_a_rider_authenticates_by_header_subprotocol_or_first_message(engine, auth):
    async with Node(engine) as node, RiderApp(node.url, token(), auth) as app:
        welcome = await app.told("welcome")
        assert welcome["limits"]["max_subscriptions"] == node.settings.max_subscriptions
        assert (welcome["stale_after_ms"], welcome["gone_after_ms"]) == (30_000, 120_000)
        assert app.socket.subprotocol == SUBPROTOCOL


@pytest.mark.parametrize("auth", ["header", "subprotocol", "message"])
async def test_a_bad_token_closes_the_same_way_wherever_it_was(engine, auth):
    async with Node(engine) as node:
        for bad in (token()[:-4] + "AAAA", token(audience="ingest"), token(lifetime_s=-60), "x"):
            async with RiderApp(node.url, bad, auth) as app:
                code, reason = await app.until_closed()
                assert code == BAD_TOKEN
                assert bad not in reason
        await eventually(lambda: node.count("ws_disconnects_total", code=str(BAD_TOKEN)) == 4)
        assert node.count("ws_connections") == 0


async def test_a_token_without_the_scope_is_forbidden(engine):
    async with Node(engine) as node, RiderApp(node.url, token(scopes="driver")) as app:
        assert (await app.until_closed())[0] == FORBIDDEN


async def test_a_client_that_never_authenticates_is_closed(engine):
    async with Node(engine, auth_timeout_s=0.2) as node, RiderApp(node.url, auth="none") as app:
        assert (await app.until_closed())[0] == NEVER_AUTHENTICATED


async def test_a_token_in_the_url_is_refused_with_a_clear_message(engine):
    async with Node(engine) as node:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{node.url}?token={token()}", proxy=None)
        assert refused.value.response.status_code == 400
        assert b"never a token" in (refused.value.response.body or b"")


async def test_another_path_is_not_found(engine):
    async with Node(engine) as node:
        with pytest.raises(InvalidStatus) as refused:
            await connect(node.url.replace("/v1/stream", "/"), proxy=None)
        assert refused.value.response.status_code == 404


async def test_foreign_pages_may_not_connect_and_own_pages_and_apps_may(engine):
    async with Node(engine, push_http_port=4321) as node:
        with pytest.raises(InvalidStatus) as refused:
            await connect(node.url, origin=Origin("http://evil.example"), proxy=None)
        assert refused.value.response.status_code == 403
        for origin in ("http://127.0.0.1:4321", "http://localhost:4321", None):
            async with RiderApp(node.url, token(), origin=origin) as app:
                await app.told("welcome")
    async with Node(engine, allowed_origins="https://a.example, https://b.example/") as node:
        async with RiderApp(node.url, token(), origin="https://b.example") as app:
            await app.told("welcome")
        with pytest.raises(InvalidStatus):
            await connect(node.url, origin=Origin("http://127.0.0.1:8082"), proxy=None)


async def test_another_subprotocol_is_refused(engine):
    async with Node(engine) as node:
        with pytest.raises(InvalidStatus) as refused:
            await connect(node.url, subprotocols=[Subprotocol("graphql-ws")], proxy=None)
        assert refused.value.response.status_code == 400


async def test_a_token_that_expires_closes_the_connection_unless_it_is_renewed(engine, monkeypatch):
    monkeypatch.setattr("push.session.LEEWAY_S", 0)
    async with (
        Node(engine, auth_timeout_s=0.5) as node,
        RiderApp(node.url, token("ann", lifetime_s=5)) as ann,
        RiderApp(node.url, token("bob", lifetime_s=5)) as bob,
    ):
        await bob.say("auth", id="again", token=token("bob"))
        await bob.told("welcome", id="again")
        assert (await ann.until_closed())[0] == TOKEN_EXPIRED
        await bob.say("ping", id="1")
        await bob.told("pong", id="1")


async def test_a_flood_of_messages_is_closed(engine):
    async with Node(engine, max_messages_per_s=5) as node, RiderApp(node.url, token()) as app:
        with suppress(ConnectionClosed):  # as many as it takes, however slowly they leave
            while app.closed is None:
                await app.say("ping")
        assert (await app.until_closed())[0] == RATE_LIMITED


async def test_what_is_not_the_protocol_is_told_and_then_closed(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await app.socket.send("{}")
        assert (await app.told("error"))["code"] == "bad_message"
        for _ in range(7):
            await app.socket.send(json.dumps({"type": "no such"}))
        assert (await app.until_closed())[0] == BAD_REQUEST


async def test_a_message_that_is_too_long_is_closed(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await app.say("subscribe", sub="x" * 5_000, lat=1, lon=1, radius_m=1)
        assert (await app.until_closed())[0] == 1009


async def test_connections_of_one_rider_and_of_one_node_are_limited(engine):
    async with Node(engine, max_connections_per_rider=1, max_connections=2) as node:
        async with RiderApp(node.url, token("ann")) as first:
            await first.told("welcome")
            async with RiderApp(node.url, token("ann")) as second:
                assert (await second.until_closed())[0] == TOO_MANY_CONNECTIONS
            await eventually(lambda: node.count("ws_disconnects_total", code=str(TOO_MANY_CONNECTIONS)) == 1)
            async with RiderApp(node.url, token("bob")) as third:
                await third.told("welcome")
                with pytest.raises(InvalidStatus) as refused:
                    await connect(node.url, proxy=None)
                assert refused.value.response.status_code == 503
                assert refused.value.response.headers["Retry-After"]
        await eventually(lambda: node.count("ws_connections") == 0)
        async with RiderApp(node.url, token("ann")) as again:
            await again.told("welcome")


async def test_a_connection_that_answers_no_ping_is_closed(engine):
    async with Node(engine, heartbeat_s=0.1, no_pong_after_s=2.0) as node:
        host, port = node.url.removeprefix("ws://").removesuffix("/v1/stream").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token()}\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            said = await reader.read()  # until the server gives up
        assert b"\x89\x00" in said  # it pinged
        assert NO_PONG.to_bytes(2, "big") in said
        writer.close()
        # Somebody who answers stays, however little there is to tell.
        async with RiderApp(node.url, token()) as app:
            heartbeats = lambda: sum(each["type"] == "heartbeat" for each in app.heard)  # noqa: E731
            await app.until(lambda: heartbeats() > 0)
            await asyncio.sleep(3.0)
            assert app.closed is None


async def test_draining_tells_everyone_and_spreads_the_closes(engine):
    async with Node(engine, drain_s=3.0) as node:
        apps = [RiderApp(node.url, token(f"rider-{number}")) for number in range(10)]
        for app in apps:
            await app.__aenter__()
            await app.told("welcome")
        started_s = time.monotonic()
        draining = asyncio.create_task(node.server.drain())
        ended_s = []

        async def end(app: RiderApp) -> None:
            assert (await app.until_closed())[0] == DRAINING
            ended_s.append(time.monotonic() - started_s)
            assert (await app.told("draining"))["reconnect_in_ms"] >= 0

        await apps[0].told("draining")
        with pytest.raises((OSError, InvalidStatus)):
            await connect(node.url, proxy=None, open_timeout=2)
        await asyncio.gather(*(end(app) for app in apps))
        await draining
        assert max(ended_s) - min(ended_s) > 0.5
        for app in apps:
            await app.__aexit__(None, None, None)
        assert node.count("ws_disconnects_total", code=str(DRAINING)) == 10


async def test_riders_keep_seeing_cars_while_the_node_drains(engine):
    async with Node(engine, drain_s=2.0) as node, RiderApp(node.url, token()) as app:
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        async with RiderApp(node.url, token("rider-2")) as other:
            await other.told("welcome")
            draining = asyncio.create_task(node.server.drain())
            await app.told("draining")
            if app.closed is None and other.closed is not None:
                await node.writer.put("a", MANHATTAN)
                await app.until(lambda: "a" in view.cars or app.closed)
            await draining


async def test_a_binary_frame_that_is_not_text_is_answered_like_any_other_bad_message(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await app.told("welcome")
        for _ in range(MAX_BAD_MESSAGES - 1):
            await app.socket.send(b'{"type":"ping","id":"\xff"}')
        await app.told("error", code="bad_message")
        await app.socket.send(b'{"type":"ping","id":"1"}')  # JSON in a binary frame is understood
        await app.told("pong", id="1")
        await app.socket.send(b"\xff\xfe")
        assert (await app.until_closed())[0] == BAD_REQUEST
    async with Node(engine) as node, RiderApp(node.url, auth="none") as app:
        await app.socket.send(b'{"type":"auth","token":"\xff"}')
        assert (await app.until_closed())[0] == BAD_REQUEST
