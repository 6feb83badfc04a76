"""Share links: tokens for one trip, which links are good, and whom any token that push is shown belongs to.

A link is good while its token is (signature, expiry) *and* Redis holds its id. So a revoked one is refused at once,
and after a loss of Redis all are: it fails closed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

import jwt
import redis.asyncio

from infra.identity import Principal, TokenRefused, Verifier, mint
from push.scopes import SHARE_SCOPE
from push.settings import PushSettings
from stream.scripts import Scripts
from stream.trip_channels import shares_key

#: The audience of share tokens; whoever holds one has the scope of that name and no other. No rider token can have it.
SHARE: Final = SHARE_SCOPE
TRIP_CLAIM: Final = "trip_id"
ALGORITHM: Final = "HS256"
#: Sets share links apart from everything else that is signed with the key of the tokens (NIST SP 800-108: a label).
_LABEL: Final = b"ridestream share links, version 1"
#: 96 bits: nobody finds one, and the token that holds it is signed anyway.
_ID_BYTES: Final = 12
#: Redis forgets a trip's links this long after the last has expired; its clock and ours may differ.
_KEPT_LONGER_MS: Final = 60_000

# KEYS shares · ARGV share id, expires_at_ms, now_ms, most, kept longer · returns 1, or 0 when there are as many
# already. Those that have expired are forgotten first. One script: two requests at once do not exceed the number.
CREATE = """
local shares, last = redis.call('HGETALL', KEYS[1]), tonumber(ARGV[2])
local good = 0
for i = 1, #shares, 2 do
  local expires_at = tonumber(shares[i + 1])
  if expires_at <= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], shares[i])
  else
    good = good + 1
    last = math.max(last, expires_at)
  end
end
if good >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last + tonumber(ARGV[5])))
return 1
"""


def share_key(settings: PushSettings) -> str:
    """The key that signs share tokens; "" when there can be none."""
    if settings.share_key or settings.jwt_algorithm != "HS256":
        return settings.share_key
    return hmac.new(settings.jwt_key.encode(), _LABEL, hashlib.sha256).hexdigest()


class Tokens:
    """Verifies what riders, dispatchers and holders of share links show."""

    def __init__(self, riders: Verifier, share_key: str) -> None:
        """Raises ValueError when `share_key` is neither "" nor good for HS256."""
        self._riders = riders
        self._shares = Verifier(share_key, ALGORITHM, SHARE, TRIP_CLAIM, "RIDESTREAM_SHARE_KEY") if share_key else None

    def verify(self, token: str, now_s: float) -> Principal:
        """Whose token it is, at wall time `now_s`. Raises TokenRefused.

        The holder of a share link has the scope `share` and no other, `resource` is the trip, `token_id` the share;
        whether the link is still good is for `Shares.is_good` to say.
        """
        try:
            principal = self._riders.verify(token, now_s)
        except TokenRefused as refused:
            if self._shares is None:
                raise
            try:
                principal = self._shares.verify(token, now_s)
            except TokenRefused as share_refused:
                # What the token says of itself chooses the words of the refusal, and nothing else.
                raise (share_refused if _says_share(token) else refused) from None
            if not principal.token_id:
                raise TokenRefused("token refused: jti must name the share") from None
            return replace(principal, scopes=frozenset({SHARE}))
        return replace(principal, scopes=principal.scopes - {SHARE}) if SHARE in principal.scopes else principal


class Share(NamedTuple):
    """A link that was made. `expires_at_ms` is wall time."""

    share_id: str
    token: str
    expires_at_ms: int


class Shares:
    """Makes and revokes links, and knows which are good. Methods raise redis.exceptions.RedisError."""

    def __init__(self, client: redis.asyncio.Redis, key: str, most_per_trip: int) -> None:
        """`key` as of `share_key`; with "" none can be made. A trip has at most `most_per_trip` good ones."""
        self._redis, self._key, self._most = client, key, most_per_trip
        self._scripts = Scripts(client)

    @property
    def are_on(self) -> bool:
        return bool(self._key)

    async def create(self, trip_id: str, lifetime_s: int, now_s: float) -> Share | None:
        """A new link, good from wall time `now_s`; None when the trip has as many as it may have."""
        share_id = secrets.token_urlsafe(_ID_BYTES)
        expires_at_s = int(now_s) + lifetime_s
        args = (share_id, expires_at_s * 1_000, int(now_s * 1_000), self._most, _KEPT_LONGER_MS)
        (made,) = await self._scripts.run(CREATE, [args], lambda args: ([shares_key(trip_id)], args))
        if not made:
            return None
        claims = {TRIP_CLAIM: trip_id, "jti": share_id}
        token = mint(self._key, ALGORITHM, SHARE, f"{SHARE}:{share_id}", SHARE, int(now_s), lifetime_s, claims)
        return Share(share_id, token, expires_at_s * 1_000)

    async def revoke(self, trip_id: str, share_id: str) -> None:
        """From now on the link is not good, if it was."""
        await self._redis.hdel(shares_key(trip_id), share_id)

    async def is_good(self, trip_id: str, share_id: str, now_ms: int) -> bool:
        """Whether the link was made, is not revoked, and has not expired at wall time `now_ms`."""
        return (trip_id, share_id) in await self.good_of([(trip_id, share_id)], now_ms)

    async def good_of(self, links: Iterable[tuple[str, str]], now_ms: int) -> set[tuple[str, str]]:
        """Those of some (trip id, share id) that are good, in one round trip."""
        wanted = list(links)
        if not wanted:
            return set()
        pipeline = self._redis.pipeline(transaction=False)
        for trip_id, share_id in wanted:
            pipeline.hget(shares_key(trip_id), share_id)
        replies = await pipeline.execute()
        return {link for link, expiry in zip(wanted, replies, strict=True) if expiry and int(expiry) > now_ms}


def _says_share(token: str) -> bool:
    """Whether a token, which nobody has believed, calls itself a share token."""
    try:
        return bool(jwt.decode(token, options={"verify_signature": False}).get("aud") == SHARE)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return False
