"""Who sends a request: the bearer token in its headers, verified, or a refusal that says what to send."""

from __future__ import annotations

import logging
import time

from infra.identity import Principal, TokenRefused, Verifier
from ingest.bodies import Refused

log = logging.getLogger(__name__)

#: Longer than any token we know (RS256 with a handful of claims is ~800 bytes); below servers' header limits.
MAX_TOKEN_BYTES = 8_192

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="ridestream"'),)
_BAD_TOKEN = ((b"www-authenticate", b'Bearer realm="ridestream", error="invalid_token"'),)


def bearer_of(headers: dict[bytes, bytes], verifier: Verifier) -> Principal:
    """Raises Refused 401, 500."""
    given = headers.get(b"authorization", b"")
    if given[:7].lower() != b"bearer ":
        raise Refused(401, "unauthorized", "send `Authorization: Bearer <token>`", _CHALLENGE)
    if len(given) > MAX_TOKEN_BYTES:
        raise Refused(401, "unauthorized", "the token is too long", _BAD_TOKEN)
    try:
        return verifier.verify(given[7:].decode("latin-1"), time.time())
    except TokenRefused as error:
        raise Refused(401, "unauthorized", str(error), _BAD_TOKEN) from None
    except Exception as error:
        # In the lane this runs inside the HTTP parser, which would call anything else a bad request.
        log.error("a token could not be checked: %s", type(error).__name__)
        raise Refused(500, "internal", "an error on our side; send it again") from None


def lacks_scope(detail: str, scopes: str) -> Refused:
    """A 403 for a good token that is for something else; `scopes` (space separated) would have done."""
    challenge = f'Bearer realm="ridestream", error="insufficient_scope", scope="{scopes}"'
    return Refused(403, "forbidden", detail, ((b"www-authenticate", challenge.encode()),))
