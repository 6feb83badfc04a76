"""Tokens that nobody may take, each for another reason, and good ones to compare with."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.push.read_api import KEY

OTHER_KEY = "another key that is long enough for HS256"
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
RSA_PUBLIC = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def claims(now_s: float, **changes: object) -> dict[str, Any]:
    """Of a rider who may everything; None leaves a claim out."""
    good: dict[str, Any] = {
        "sub": "rider-1", "aud": "rider", "scope": "rider dispatch", "iat": int(now_s), "exp": int(now_s) + 600,
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(
    now_s: float,
    key: Any = KEY,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **changes: object,
) -> str:
    return jwt.encode(claims(now_s, **changes), key, algorithm=algorithm, headers=headers)


def tampered(now_s: float) -> str:
    """A good token whose claims were exchanged afterwards."""
    head, _, signature = signed(now_s, sub="rider-2").split(".")
    return f"{head}.{b64(claims(now_s))}.{signature}"


def unsigned(now_s: float, algorithm: str, signature: str = "") -> str:
    return f"{b64({'alg': algorithm, 'typ': 'JWT'})}.{b64(claims(now_s))}.{signature}"


#: Why nobody may take it -> the token, at a wall time.
BAD_TOKENS: dict[str, Callable[[float], str]] = {
    "forged": lambda now_s: signed(now_s, OTHER_KEY),
    "tampered with": tampered,
    "expired": lambda now_s: signed(now_s, exp=int(now_s) - 60),
    "not valid yet": lambda now_s: signed(now_s, nbf=int(now_s) + 60),
    "never expiring": lambda now_s: signed(now_s, exp=None),
    "alg none": lambda now_s: unsigned(now_s, "none"),
    "alg none, with a signature": lambda now_s: unsigned(now_s, "None", signed(now_s).split(".")[2]),
    "another algorithm": lambda now_s: signed(now_s, algorithm="HS512"),
    "signed with a key of its own": lambda now_s: signed(now_s, RSA_KEY, "RS256", {"jwk": {"kty": "oct", "k": "AA"}}),
    "with a key that it names": lambda now_s: signed(now_s, OTHER_KEY, headers={"kid": "../../dev/null"}),
    "for ingest": lambda now_s: signed(now_s, aud="ingest"),
    "for nobody": lambda now_s: signed(now_s, aud=None),
    "for a share, with the riders' key": lambda now_s: signed(now_s, aud="share", trip_id="t-1", jti="s-1"),
    "nonsense": lambda now_s: "nonsense",
    "empty": lambda now_s: "",
}
