"""The HTTP wire, phone to ingest: what a body may hold and what is answered. Bytes in, structs out; nothing is judged.

A body is one ping, a bare array of pings, or `{"pings": [...]}`. It is decoded in one typed pass; only when a ping in
it has a wrong type is it decoded ping by ping, so that one bad ping is `malformed` and the others go on.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from ingest.events import VEHICLE_TYPES

#: Pings in one request. Overland sends up to 1,000; a phone that was offline for an hour holds about that many.
MAX_PINGS = 1_000
#: Bytes in one request: 1,000 pings at the ~160 bytes of a full one, six times over.
MAX_BODY_BYTES = 1_048_576
#: Ids become Kafka keys, Redis hash fields and log fields: short, and without characters that mean something there.
ID_PATTERN = r"[A-Za-z0-9_.:-]{1,64}"

valid_id = re.compile(ID_PATTERN).fullmatch

_ID_SCHEMA = {"type": "string", "pattern": f"^{ID_PATTERN}$"}


def _shown(description: str, **schema: Any) -> Any:
    """Say it in the JSON Schema only: a value out of range is admission's to judge, with a reason."""
    return msgspec.Meta(description=description, extra_json_schema=schema)


class PingIn(msgspec.Struct, frozen=True, gc=False):
    """One GPS fix as a driver app sends it. Members it does not know are ignored."""

    fix_time_ms: Annotated[int, _shown("GPS time of the fix, Unix epoch milliseconds.", examples=[1767225600000])]
    lat: Annotated[float, _shown("WGS84 latitude, degrees.", minimum=-90, maximum=90, examples=[40.7580])]
    lon: Annotated[float, _shown("WGS84 longitude, degrees.", minimum=-180, maximum=180, examples=[-73.9855])]
    ping_id: Annotated[
        str | None, _shown("Your id of this ping (a UUID, say); it is echoed in the verdict.", **_ID_SCHEMA)
    ] = None
    driver_id: Annotated[
        str | None,
        _shown("Needed with a `fleet` token; with a driver's token leave it out (it must equal `sub`).", **_ID_SCHEMA),
    ] = None
    accuracy_m: Annotated[float | None, _shown("Radius of 68 % confidence, metres.")] = None
    heading_deg: Annotated[
        float | None, _shown("Course over ground, degrees clockwise from north, [0, 360); negative: unknown.")
    ] = None
    speed_mps: Annotated[float | None, _shown("Speed over ground, metres per second; negative: unknown.")] = None
    altitude_m: Annotated[float | None, _shown("Height above the ellipsoid, metres.")] = None
    vehicle_type: Annotated[
        str | None, _shown("Vehicle category.", type="string", enum=sorted(VEHICLE_TYPES - {""}))
    ] = None
    vehicle_state: Annotated[
        str | None, _shown("OFFLINE hides the driver from riders.", type="string", enum=["ONLINE", "OFFLINE"])
    ] = None
    is_mock: Annotated[bool | None, _shown("The phone says that this fix was made up by another app.")] = None


class PingBatch(msgspec.Struct, frozen=True, gc=False):
    """Many pings in one body, in any order."""

    pings: Annotated[list[PingIn], _shown("At most 1,000.", maxItems=MAX_PINGS)]


class PingVerdict(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What became of one ping. `reason` and `detail` are there only when it was rejected."""

    ping_id: str = ""
    status: Literal["accepted", "rejected"]
    reason: str = ""
    detail: str = ""


class Verdicts(msgspec.Struct, frozen=True):
    """The answer to a request: one verdict for each ping, in the order of the request."""

    received: int
    accepted: int
    rejected: int
    results: list[PingVerdict]


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A ping that is not of PingIn's shape. `detail` names the `member` and holds no value of it."""

    detail: str
    ping_id: str = ""
    member: str = ""


class BodyRefused(Exception):
    """The body as a whole cannot be read as pings: an HTTP status, a problem type and a detail."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail = status, slug, detail


class _OnlyId(msgspec.Struct):
    ping_id: str = ""


class _RawBatch(msgspec.Struct):
    pings: list[msgspec.Raw]


_one = msgspec.json.Decoder(PingIn)
_array = msgspec.json.Decoder(list[PingIn])
_batch = msgspec.json.Decoder(PingBatch)
_only_id = msgspec.json.Decoder(_OnlyId)
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_raw_batch = msgspec.json.Decoder(_RawBatch)
_encode = msgspec.json.Encoder().encode

#: Where msgspec's messages name a member: "missing required field `lat`", "at `$.lat`".
_NAMED = re.compile(r"(?:required field `|at `\$\.)(\w+)`$")

_SHAPE = 'send one ping object, an array of pings, or {"pings": [...]} as JSON'


def decode_body(body: bytes) -> list[PingIn] | list[PingIn | Malformed]:
    """The pings of a request, in order. Raises BodyRefused: 400 not JSON or of another shape, 413 too many."""
    try:
        pings = _decode(body)
    except RecursionError:
        raise BodyRefused(400, "invalid-json", f"the body is nested too deeply; {_SHAPE}") from None
    except msgspec.ValidationError:
        raise BodyRefused(400, "invalid-body", f"the body is JSON of another shape; {_SHAPE}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BodyRefused(400, "invalid-json", f"the body is not valid JSON; {_SHAPE}") from None
    if len(pings) > MAX_PINGS:
        raise BodyRefused(413, "too-many-pings", f"{len(pings)} pings in one request; send at most {MAX_PINGS}")
    return pings


def _decode(body: bytes) -> list[PingIn] | list[PingIn | Malformed]:
    # Which form it is, guessed from the bytes; a wrong guess fails and is put right below.
    try:
        if body[:1] == b"[":
            return _array.decode(body)
        return _batch.decode(body).pings if b'"pings"' in body else [_one.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Also what is JSON but no value (1e999): the fault of one ping, not of the body.
        return _decode_each(body)


def _decode_each(body: bytes) -> list[PingIn | Malformed]:
    if body.lstrip()[:1] == b"[":
        return [_decode_one(raw) for raw in _count_checked(_raw_array.decode(body))]
    if "pings" in _raw_members.decode(body):
        return [_decode_one(raw) for raw in _count_checked(_raw_batch.decode(body).pings)]
    return [_decode_one(body)]


def _count_checked(raws: list[msgspec.Raw]) -> list[msgspec.Raw]:
    if len(raws) > MAX_PINGS:
        raise BodyRefused(413, "too-many-pings", f"{len(raws)} pings in one request; send at most {MAX_PINGS}")
    return raws


def is_one_ping(body: bytes) -> bool:
    """Whether a body that decode_body takes is a ping itself, not an array or a batch (of one ping, maybe)."""
    if body.lstrip()[:1] != b"{":
        return False
    try:
        return "pings" not in _raw_members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b'"pings"' not in body


def _decode_one(raw: msgspec.Raw | bytes) -> PingIn | Malformed:
    try:
        return _one.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's messages name types and members, never a value.
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    try:
        ping_id = _only_id.decode(raw).ping_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        ping_id = ""
    named = _NAMED.search(detail)
    return Malformed(detail, ping_id if valid_id(ping_id) else "", named[1] if named else "")


ACCEPTED = PingVerdict(status="accepted")
#: The most frequent answer of all: one ping without an id, accepted.
ONE_ACCEPTED = _encode(Verdicts(1, 1, 0, [ACCEPTED]))


def encode_verdicts(results: list[PingVerdict], accepted: int) -> bytes:
    """The body of a 202."""
    return _encode(Verdicts(len(results), accepted, len(results) - accepted, results))
