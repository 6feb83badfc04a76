"""Decide what ingest's answer to a post of pings means for them: verdicts, again later, smaller, or never. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict for each ping of the post, in its order: None when accepted, else the reason code."""

    reasons: list[str | None]


@dataclass(frozen=True, slots=True)
class Again:
    """Not now: send the same pings again, after `after_s` if the server said how long."""

    why: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Smaller:
    """The post was too large: send it as two."""


@dataclass(frozen=True, slots=True)
class Never:
    """The same post will not be taken, however often it is sent. `fatal`: nor will any other."""

    why: str
    fatal: bool = False


Outcome = Judged | Again | Smaller | Never

#: Statuses that a busy, draining or restarting server (or the gateway before it) gives.
_COME_BACK = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_LARGE = 413
_DENIED = frozenset({401, 403})
#: A Retry-After beyond this is taken as this: the simulator's user is waiting.
_LONGEST_AFTER_S = 30.0


class _Result(msgspec.Struct):
    status: str
    reason: str | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


_decoder = msgspec.json.Decoder(_Answer)


def outcome_of(status: int, retry_after: str | None, body: bytes, pings: int) -> Outcome:
    """Read the answer to a post of `pings` pings."""
    if status in (200, 202):
        return _verdicts(body, pings)
    if status in _COME_BACK:
        return Again(f"http_{status}", _seconds(retry_after))
    if status == _TOO_LARGE and pings > 1:
        return Smaller()
    return Never(f"http_{status}", fatal=status in _DENIED)


def _verdicts(body: bytes, pings: int) -> Outcome:
    try:
        results = _decoder.decode(body).results
    except msgspec.DecodeError:
        return Never("answer_unreadable")
    if len(results) != pings:
        return Never("answer_incomplete")
    if not all(result.status == "accepted" or (result.status == "rejected" and result.reason) for result in results):
        return Never("answer_unknown_status")
    return Judged([None if result.status == "accepted" else result.reason for result in results])


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; its date form, which ingest does not send, is ignored."""
    try:
        return min(_LONGEST_AFTER_S, max(0.0, float(retry_after))) if retry_after else None
    except ValueError:
        return None
