"""The doors riders come in by: several listening sockets on one port, so that a storm of riders does not queue."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from push.handshake import allowed_origins, select_subprotocol
from push.rider import CLOSE_WITHIN_S, RiderConnection
from push.settings import PushSettings

#: A client's message is a few hundred bytes, the longest is a token.
MAX_MESSAGE_BYTES: Final = 4_096
#: The default backlog of 100 makes a burst of riders wait for TCP's 1 s retransmission (measured: 10x fewer a second).
BACKLOG: Final = 4_096
#: uvloop accepts one connection in a turn of its loop, for each listening socket (measured: 200 that waited took 201
#: turns). So there are several for one port: when turns are long, in a storm, riders must not wait for one turn each.
ACCEPTED_AT_ONCE: Final = 16


async def open_doors(
    listening: socket.socket,
    ride: Callable[[ServerConnection], Awaitable[None]],
    admit: Callable[[ServerConnection, Request], Response | None],
    settings: PushSettings,
) -> list[Server]:
    """Servers on copies of a bound socket, which is closed. `admit` refuses handshakes, `ride` is each connection."""
    servers = [
        await serve(
            ride,
            sock=listening.dup(),
            backlog=BACKLOG,
            origins=allowed_origins(settings.allowed_origins, settings.push_host, settings.push_http_port),
            select_subprotocol=select_subprotocol,
            process_request=admit,
            server_header=None,
            compression=None,
            open_timeout=settings.auth_timeout_s,
            ping_interval=None,
            close_timeout=CLOSE_WITHIN_S,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=4,
            write_limit=(settings.write_limit_bytes - 1, settings.write_limit_bytes // 4),
            create_connection=RiderConnection,
        )
        for _ in range(ACCEPTED_AT_ONCE)
    ]
    listening.close()
    return servers
