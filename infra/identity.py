"""Verify and mint bearer tokens. Algorithm and key are ours; nothing in a token's header chooses them (RFC 8725)."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

#: Verifying HS256 costs ~75 us, a dictionary hit 0.1 us (docs/benchmarks.md): a driver posts with one token all day.
CACHED_TOKENS = 65_536
#: A cached verdict is trusted this long, so that a token is never accepted much past its expiry or a key change.
CACHED_FOR_S = 60
#: Clocks of token issuers may differ from ours by this much (RFC 8725 advises a small leeway).
LEEWAY_S = 10
#: RFC 7518 3.2: an HS256 key must be at least as long as the hash.
MIN_SECRET_BYTES = 32


class TokenRefused(Exception):
    """The token is not accepted. `args[0]` is safe to show to its bearer; it never holds the token."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: `subject` is the driver's or rider's id, `scopes` what they may do.

    `resource` is the one thing that the token is good for ("" where tokens are for all that the scopes allow), and
    `token_id` the token's own name (claim `jti`), by which it can be revoked.
    """

    subject: str
    scopes: frozenset[str]
    expires_at_s: float
    resource: str = ""
    token_id: str = ""


class Verifier:
    """Check tokens for one audience and remember the verdicts of good ones."""

    def __init__(
        self, key: str, algorithm: str, audience: str, resource_claim: str = "", key_name: str = "RIDESTREAM_JWT_KEY"
    ) -> None:
        """`audience` is `ingest`, `rider` or `share`. A token must have `resource_claim` if it is not "".

        Raises ValueError, which names the setting `key_name`, when the key cannot be used with the algorithm.
        """
        if not key:
            raise ValueError(f"{key_name} is not set; set it to the key that signs your tokens")
        if algorithm == "HS256" and len(key.encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"{key_name} is shorter than {MIN_SECRET_BYTES} bytes; use a longer secret")
        try:
            jwt.get_algorithm_by_name(algorithm).prepare_key(key)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
            raise ValueError(f"{key_name} is not a key for {algorithm}; set it to the public key as PEM") from None
        self._key, self._algorithm, self._audience = key, algorithm, audience
        self._resource_claim = resource_claim
        self._cache: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    def verify(self, token: str, now_s: float) -> Principal:
        """Return the principal of `token` at wall time `now_s` (epoch seconds). Raises TokenRefused."""
        digest = hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=16).digest()
        cached = self._cache.get(digest)
        if cached is not None and now_s < cached[0]:
            return cached[1]
        principal = self._verify(token, now_s)
        self._cache[digest] = (min(principal.expires_at_s, now_s + CACHED_FOR_S), principal)
        if len(self._cache) > CACHED_TOKENS:
            self._cache.popitem(last=False)
        return principal

    def _verify(self, token: str, now_s: float) -> Principal:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                # Times are judged below: by `now_s`, with our leeway.
                options={
                    "require": ["exp", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            subject, scope = claims["sub"], claims.get("scope", "")
            expires_at_s = _seconds(claims["exp"])
            starts_at_s = max(_seconds(claims.get("nbf", 0)), _seconds(claims.get("iat", 0)))
        except jwt.InvalidAudienceError:
            raise TokenRefused(f"token refused: it is for another audience; its aud must be {self._audience}") from None
        except jwt.InvalidSignatureError:
            raise TokenRefused("token refused: its signature is not of our key") from None
        except jwt.DecodeError:
            raise TokenRefused("token refused: it is not a JSON Web Token") from None
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"token refused: {error}") from None
        except (TypeError, ValueError, OverflowError):
            raise TokenRefused("token refused: exp, nbf and iat must be numbers") from None
        if expires_at_s + LEEWAY_S <= now_s:
            raise TokenRefused("token refused: it has expired")
        if starts_at_s - LEEWAY_S > now_s:
            raise TokenRefused("token refused: it is not valid yet")
        if not isinstance(subject, str) or not subject or not isinstance(scope, str):
            raise TokenRefused("token refused: sub and scope must be strings")
        resource = claims.get(self._resource_claim) if self._resource_claim else ""
        if not isinstance(resource, str) or (self._resource_claim and not resource):
            raise TokenRefused(f"token refused: {self._resource_claim} must be a string")
        # Of the type that it has to be: the library refuses any other.
        token_id: str = claims.get("jti", "")
        return Principal(subject, frozenset(scope.split()), expires_at_s, resource, token_id)


def _seconds(claim: object) -> float:
    """A NumericDate of RFC 7519. Not a number in a string, and not NaN: no time would ever be past it."""
    if not isinstance(claim, int | float) or not math.isfinite(claim):
        raise ValueError
    return float(claim)


def mint(
    key: str,
    algorithm: str,
    audience: str,
    subject: str,
    scopes: str,
    now_s: float,
    lifetime_s: float,
    more: Mapping[str, object] | None = None,
) -> str:
    """Sign a token. `scopes` is space separated, as in RFC 8693 `scope`; `more` are claims beside those made here."""
    claims = {
        **(more or {}),
        "sub": subject,
        "aud": audience,
        "scope": scopes,
        "iat": int(now_s),
        "exp": int(now_s + lifetime_s),
    }
    return jwt.encode(claims, key, algorithm=algorithm)
