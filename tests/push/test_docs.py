"""docs/wire/websocket.md says what the code does, and its example runs."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import msgspec
import pytest

from push import protocol, session, trip_messages
from push.protocol import CLOSE_REASONS, ProtocolError, decode_client
from tests.push.city import MANHATTAN
from tests.push.node import Node, token

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "wire" / "websocket.md").read_text()


def test_the_table_has_every_close_code():
    assert {int(code) for code in re.findall(r"^\| (4\d{3}) \|", PAGE, re.M)} == set(CLOSE_REASONS)


def test_every_message_type_and_error_code_is_described():
    for message in (protocol.Auth, protocol.Subscribe, protocol.Recenter, protocol.Unsubscribe, protocol.PingMessage):
        tag = msgspec.inspect.type_info(message).tag  # type: ignore[attr-defined]
        assert f"| `{tag}` |" in PAGE
        for field in message.__struct_fields__:
            assert f"`{field}`" in PAGE or field == "channel"
    source = Path(session.__file__).read_text()
    for code in set(re.findall(r'(?:_Refused|_error)\(\s*"(\w+)"', source)):
        assert f"`{code}`" in PAGE, code


def test_every_member_of_a_car_is_described():
    for field in protocol.CarMessage.__struct_fields__:
        assert f'"{field}"' in PAGE


@pytest.mark.parametrize(
    "message",
    [
        trip_messages.TripMessage,
        trip_messages.EventMessage,
        trip_messages.TripCarMessage,
        trip_messages.ProgressMessage,
    ],
)
def test_every_member_of_what_is_told_of_a_trip_is_described(message):
    for field in message.__struct_fields__:
        assert f'"{field}"' in PAGE or f"`{field}`" in PAGE, field


def test_what_the_page_says_to_send_is_understood():
    sent = re.findall(r'`(\{"type":"(?:auth|subscribe|recenter|unsubscribe|ping)".*?\})`', PAGE)
    assert sent
    for message in sent:
        decode_client(message)
    with pytest.raises(ProtocolError):
        decode_client('{"type":"subscribe","sub":"map","lat":1,"lon":1,"radius":5}')


async def test_the_example_prints_the_snapshot(engine, tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    async with Node(engine) as node:
        await node.writer.put("driver-1", MANHATTAN)
        file = tmp_path / "example.py"
        file.write_text(source.replace("ws://127.0.0.1:8081/v1/stream", node.url))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(file), token(), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(30):
                lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        finally:
            process.kill()
            await process.wait()
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["welcome", "subscribed", "snapshot"]
    assert "driver-1" in lines[2]
