"""The fast lane answers as the ordinary way does, however the bytes of a request arrive. On real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest

from ingest.tally import Tally
from tests.ingest import wire
from tests.ingest.producer import RecordingProducer
from tests.ingest.wire import Connection, encoded, ping, request, token

GOOD = encoded([ping(ping_id="a"), ping(ping_id="b", lat=91)])
REQUESTS = {
    "batch": request(GOOD),
    "one": request(encoded(ping())),
    "not json": request(b"{"),
    "too many": request(encoded([{}] * 1_001)),
    "forged": request(GOOD, bearer="not.a.token"),
    "no scope": request(GOOD, bearer=token(scope="")),
    "wrong type": request(GOOD).replace(b"application/json", b"text/plain"),
    "empty": request(b""),
    "get": request(b"", method="GET"),
    "http/1.0": request(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "asks to close": request(GOOD, more="connection: close\r\n"),
    "query": request(GOOD).replace(b"/v1/pings ", b"/v1/pings?a=1 "),
    "chunked": request(b"", more="transfer-encoding: chunked\r\n").replace(b"content-length: 0\r\n", b"")
    + b"%x\r\n" % len(GOOD)
    + GOOD
    + b"\r\n0\r\n\r\n",
}


def comparable(response: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], object]:
    status, fields, body = response
    return status, {name: value for name, value in fields.items() if name != "date"}, json.loads(body)


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_give_the_same_answer(name: str) -> None:
    answers = []
    for lane in (False, True):
        producer = RecordingProducer()
        async with wire.served(wire.route(producer), producer, lane) as port:
            connection = await Connection.to(port)
            answers.append((comparable(await connection.post(REQUESTS[name])), [p.ping_id for p in producer.pings]))
            await connection.close()
    ordinary, fast = answers
    # A refusal that has read the whole body need not close the connection.
    for (_, fields, _), _ in answers:
        fields.pop("connection", None)
    assert fast == ordinary


async def test_a_request_may_be_cut_anywhere() -> None:
    producer, tally = RecordingProducer(), Tally()
    data = REQUESTS["batch"]
    async with wire.served(wire.route(producer, tally), producer) as port:
        connection = await Connection.to(port)
        cuts = [*range(1, len(data), 37), len(data) - len(GOOD) - 1, len(data) - len(GOOD), len(data) - 1]
        for cut in cuts:
            connection.writer.write(data[:cut])
            await asyncio.sleep(0.002)
            status, _, body = await connection.post(data[cut:])
            assert (status, json.loads(body)["accepted"]) == (202, 1)
        await connection.close()
    assert tally.accepted == len(producer.pings) == len(cuts)


async def test_pipelined_requests_are_answered_in_order() -> None:
    class Later(RecordingProducer):
        """Acknowledges the first request last."""

        def send(self, pings, acknowledged) -> None:  # type: ignore[no-untyped-def]
            self.pings.extend(pings)
            asyncio.get_running_loop().call_later(0.1 if len(self.pings) == 1 else 0.0, acknowledged, True)

    producer = Later()
    data = b"".join(request(encoded(ping(ping_id=f"p{number}"))) for number in range(5))
    async with wire.served(wire.route(producer), producer) as port:
        connection = await Connection.to(port)
        connection.writer.write(data)
        for number in range(5):
            status, _, body = await connection.response()
            assert (status, json.loads(body)["results"][0]["ping_id"]) == (202, f"p{number}")
        await connection.close()


async def test_a_client_that_hangs_up_while_it_waits_harms_nobody() -> None:
    waiting = []

    class Silent(RecordingProducer):
        def send(self, pings, acknowledged) -> None:  # type: ignore[no-untyped-def]
            waiting.append(acknowledged)

    producer, tally = Silent(), Tally()
    async with wire.served(wire.route(producer, tally), producer) as port:
        gone, stays = await Connection.to(port), await Connection.to(port)
        gone.writer.write(REQUESTS["one"])
        stays.writer.write(REQUESTS["one"])
        async with asyncio.timeout(60):
            while len(waiting) < 2:
                await asyncio.sleep(0.005)
        gone.writer.transport.abort()
        await asyncio.sleep(0.05)
        for acknowledged in waiting:
            acknowledged(True)
        status, _, _ = await stays.response()
        assert status == 202
        await stays.close()
    assert tally.accepted == tally.received == 2


@pytest.mark.parametrize("lane", [False, True])
async def test_a_body_that_comes_too_slowly_is_408_and_the_connection_ends(lane: bool) -> None:
    producer = RecordingProducer()
    async with wire.served(wire.route(producer, body_timeout_s=1.5), producer, lane) as port:
        connection = await Connection.to(port)
        data = REQUESTS["batch"]
        connection.writer.write(data[:-10])
        await asyncio.sleep(0.05)
        connection.writer.write(data[-10:-9])
        async with asyncio.timeout(60):
            status, fields, body = await connection.response()
            assert (status, fields["connection"]) == (408, "close")
            assert json.loads(body)["type"] == "/problems/body-timeout"
            assert await connection.closed()
    assert producer.pings == []


async def test_a_declared_giant_is_refused_before_it_is_sent() -> None:
    producer = RecordingProducer()
    async with wire.served(wire.route(producer), producer) as port:
        connection = await Connection.to(port)
        data = request(b"").replace(b"content-length: 0", b"content-length: 60000000")
        status, fields, _ = await connection.post(data)
        assert (status, fields["connection"]) == (413, "close")
        assert await connection.closed()


async def test_a_keep_alive_connection_serves_many_requests_of_both_kinds() -> None:
    producer = RecordingProducer()
    async with wire.served(wire.route(producer), producer) as port:
        connection = await Connection.to(port)
        for _ in range(3):
            assert (await connection.post(REQUESTS["one"]))[0] == 202
            assert (await connection.post(b"GET /v1/clock HTTP/1.1\r\nhost: x\r\n\r\n"))[0] == 200
            assert (await connection.post(REQUESTS["forged"]))[0] == 401
        await connection.close()
