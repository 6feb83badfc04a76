"""The `Idempotency-Key` of a request, what it is good for, and what was answered to it. Pure.

The header is draft-ietf-httpapi-idempotency-key-header's: a structured-field string ("…"); a bare one is taken too.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

#: A UUID has 36; this leaves room for what others put in.
MAX_KEY_CHARACTERS = 200
#: RFC 8941 section 3.3.3: visible ASCII and spaces in quotes, with \" and \\ for the two that need it.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--~]*")
_ESCAPE = re.compile(r"\\(.)")


class RequestKey(msgspec.Struct, frozen=True):
    """What makes a request the same as an earlier one: `scope_id` is made of who, where and their key; `digest` of
    what they asked for."""

    scope_id: str
    digest: bytes


class Answered(msgspec.Struct, array_like=True, frozen=True):
    """What was answered to a request with a key: the digest of what was asked, and the whole answer."""

    digest: bytes
    status: int
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Answered)


def read_key(header: str) -> str:
    """The key in an `Idempotency-Key` header. Raises ValueError, for the client."""
    text = header.strip()
    quoted = _QUOTED.fullmatch(text)
    key = _ESCAPE.sub(r"\1", quoted[1]) if quoted else text
    if not quoted and not _BARE.fullmatch(text):
        raise ValueError('send Idempotency-Key as a string in quotes, of visible ASCII characters: "8e03978e-40d5"')
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise ValueError(f"an Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters")
    return key


def request_key(subject: str, path: str, key: str, asked: object) -> RequestKey:
    """`asked` is the decoded body: the same request in other whitespace is the same request."""
    return RequestKey(_hash(subject, path, key), hashlib.sha256(msgspec.json.encode(asked)).digest()[:16])


def trip_id_of(subject: str, key: str) -> str:
    """The id of a trip that was ordered with a key and without an id: the same for the same order."""
    return f"t-{_hash(subject, 'trip', key)[:24]}"


def pack_answered(answered: Answered) -> bytes:
    return _encoder.encode(answered)


def unpack_answered(value: bytes) -> Answered:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(value)


def _hash(*parts: str) -> str:
    """128 bits in hex. Each part's length goes in, so that no two lists of parts are one text."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
