"""A bearer token that is always valid: given, or minted from the shared key and renewed before it expires."""

from __future__ import annotations

import time

from infra.identity import MIN_SECRET_BYTES, mint

LIFETIME_S = 3_600.0
#: Renewed this long before its end, so that no request carries an expired one.
RENEW_BEFORE_S = 300.0


class Bearer:
    """Call it for the token to send now."""

    def __init__(self, given: str, key: str, algorithm: str, audience: str, subject: str, scopes: str) -> None:
        """Raises ValueError when no token is given and none can be minted."""
        if not given:
            if algorithm != "HS256":
                raise ValueError(f"tokens signed with {algorithm} cannot be minted here; give one with --token")
            if len(key.encode()) < MIN_SECRET_BYTES:
                raise ValueError(
                    f"RIDESTREAM_JWT_KEY is not set, or is shorter than {MIN_SECRET_BYTES} bytes; set it to the key "
                    "that ingest verifies with, or give a token with --token or RIDESTREAM_FLEET_TOKEN"
                )
        self._given, self._key, self._algorithm = given, key, algorithm
        self._claims = audience, subject, scopes
        self._minted, self._renew_at_s = "", 0.0

    def __call__(self) -> str:
        now_s = time.time()
        if self._given or now_s < self._renew_at_s:
            return self._given or self._minted
        self._minted = mint(self._key, self._algorithm, *self._claims, now_s, LIFETIME_S)
        self._renew_at_s = now_s + LIFETIME_S - RENEW_BEFORE_S
        return self._minted


def fleet_bearer(given: str, key: str, algorithm: str) -> Bearer:
    """May post for many drivers: each ping names its own."""
    return Bearer(given, key, algorithm, "ingest", "simulator", "fleet")


def rider_bearer(given: str, key: str, algorithm: str, rider: str) -> Bearer:
    return Bearer(given, key, algorithm, "rider", rider, "rider")


def dispatch_bearer(key: str, algorithm: str) -> Bearer:
    """May make trips and take them from state to state."""
    return Bearer("", key, algorithm, "ingest", "simulator", "dispatch")


def reader_bearer(key: str, algorithm: str) -> Bearer:
    """May read every trip, and the cars near any place."""
    return Bearer("", key, algorithm, "rider", "simulator", "dispatch")


def local_key() -> str:
    """The key of the `ridestream run` that was started in this folder; empty when there is none."""
    from infra.local.run import KEY_FILE

    try:
        return KEY_FILE.read_text()
    except OSError:
        return ""
