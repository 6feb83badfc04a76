"""Who may open a connection, and with which token and subprotocol: the rules of the WebSocket handshake. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from websockets.exceptions import NegotiationError
from websockets.http11 import Request
from websockets.typing import Origin, Subprotocol

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL

PATH: Final = "/v1/stream"


def allowed_origins(configured: str, host: str, http_port: int) -> list[Origin | None] | None:
    """What websockets checks: exact Origins, and None for native apps, which send none; None allows all (`*`)."""
    if configured.strip() == "*":
        return None
    listed = [origin.strip().rstrip("/") for origin in configured.split(",") if origin.strip()]
    own = [f"http://{name}:{http_port}" for name in dict.fromkeys(("127.0.0.1", "localhost", host))]
    return [None, *(Origin(origin) for origin in listed or own)]


def token_of(request: Request) -> str | None:
    """The bearer token of a handshake: from the Authorization header, else from the subprotocols, else None."""
    for value in request.headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    for value in request.headers.get_all("Sec-WebSocket-Protocol"):
        for offered in value.split(","):
            if offered.strip().startswith(BEARER_SUBPROTOCOL_PREFIX):
                return offered.strip()[len(BEARER_SUBPROTOCOL_PREFIX) :]
    return None


def select_subprotocol(_connection: object, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """`ridestream.v1`; a client that offers none at all is taken to speak it. A token is never echoed."""
    if not offered:
        return None
    if SUBPROTOCOL in offered:
        return Subprotocol(SUBPROTOCOL)
    raise NegotiationError(f"offer the subprotocol {SUBPROTOCOL}")


def refusal(request: Request, full: bool) -> tuple[HTTPStatus, str] | None:
    """Status and text for a handshake that is not granted; `full` when no more riders are taken now."""
    url = urlsplit(request.path)
    if url.path != PATH:
        return HTTPStatus.NOT_FOUND, f"the WebSocket endpoint is {PATH}\n"
    if url.query:
        return (
            HTTPStatus.BAD_REQUEST,
            "no parameters in the URL, and never a token: URLs are logged. Send the token in the Authorization "
            f"header, as the subprotocol {BEARER_SUBPROTOCOL_PREFIX}<token>, or in a first `auth` message.\n",
        )
    if full:
        return HTTPStatus.SERVICE_UNAVAILABLE, "this server takes no more riders now; try again later\n"
    return None
