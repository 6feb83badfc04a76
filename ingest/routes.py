"""POST /v1/pings: who is it, what is in the body, a verdict for each ping, and 202 once Kafka has them.

`PingsRoute` decides and counts; it is reached as plain ASGI (`__call__`: a FastAPI route costs five times as much as
everything done here) or, for whole requests, through `lane`. Nothing about a position is logged or put into an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from infra.clock import Clock
from infra.health import Receive, Scope, Send
from infra.identity import Principal, Verifier
from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from infra.problems import problem
from ingest.admission import MALFORMED, DriverRule, Limits, Rejection, admit
from ingest.bearer import bearer_of, lacks_scope
from ingest.bodies import BodyReader, Headers, Refused, check, unread
from ingest.events import Ping
from ingest.producer import Overloaded, PingProducer
from ingest.schemas import (
    ACCEPTED,
    ONE_ACCEPTED,
    BodyRefused,
    Malformed,
    PingIn,
    PingVerdict,
    decode_body,
    encode_verdicts,
    is_one_ping,
    valid_id,
)
from ingest.tally import Tally

log = logging.getLogger(__name__)

PATH = "/v1/pings"
#: Scope of a token that may post for the one driver it names, and of one that may post for any.
DRIVER_SCOPE, FLEET_SCOPE = "driver", "fleet"
#: What a refused client is told to wait. Kafka elects a new leader within seconds; more clients come back spread out.
RETRY_AFTER_S = 2

_RETRY = ((b"retry-after", str(RETRY_AFTER_S).encode()),)


class Answer(NamedTuple):
    """An HTTP response, but for content-length and what the server adds."""

    status: int
    body: bytes
    headers: Headers


Respond = Callable[[Answer], None]

#: Told of every rejected ping: whose ("" unknown), received when, its fix time if it has one, and the reason.
Remember = Callable[[str, int, int | None, str], None]


def _forget(driver_id: str, received_at_ms: int, fix_time_ms: int | None, reason: str) -> None:
    """Where nobody asks why a driver is not shown."""


class PingsRoute:
    """The ASGI callable of PATH, and the steps it is made of."""

    def __init__(
        self,
        verifier: Verifier,
        producer: PingProducer,
        clock: Clock,
        limits: Limits,
        tally: Tally,
        bodies: BodyReader,
        remember: Remember = _forget,
    ) -> None:
        self._verifier, self._producer, self._clock = verifier, producer, clock
        self._limits, self._tally, self._bodies, self._remember = limits, tally, bodies, remember

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            rule = self.open(scope["method"], headers)
            body = await self._bodies.read(receive)
        except Refused as refused:
            answer = self.refuse(refused, unread(headers))
        else:
            if body is None:
                return  # the client has gone
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self.take(rule, body, started_s, partial(_settle, answered))
            answer = await answered
        length = (b"content-length", b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": (*answer.headers, length)})
        await send({"type": "http.response.body", "body": answer.body})

    def open(self, method: str, headers: dict[bytes, bytes]) -> DriverRule:
        """Whose pings this request may hold, decided before its body is read. Raises Refused 401, 403, 405, 503..."""
        if method != "POST":
            raise Refused(405, "method-not-allowed", f"only POST is allowed on {PATH}", ((b"allow", b"POST"),))
        why = self._producer.refusal()
        if why is not None:
            raise _busy(why)
        rule = _rule_of(bearer_of(headers, self._verifier))
        check(headers)
        return rule

    def take(self, rule: DriverRule, body: bytes, started_s: float, respond: Respond) -> None:
        """Judge the pings in `body` and call `respond` once: now, or when Kafka has those that were admitted."""
        received, tally = 0, self._tally
        try:
            pings = decode_body(body)
            received = len(pings)
            tally.received += received
            results, admitted, rejections = self._judge(pings, rule)
            if received == 1 and rejections and rejections[0].reason is MALFORMED and is_one_ping(body):
                respond(self._refuse_one(rejections[0], started_s))
                return
            accepted = len(admitted)
            # Encoded now, while it is at hand, though it is sent only later: what waits for Kafka is bytes.
            body = ONE_ACCEPTED if results is None else encode_verdicts(results, accepted)

            def acknowledged(acked: bool) -> None:
                if not acked:
                    tally.unacknowledged += received
                    respond(self.refuse(_busy("Kafka did not acknowledge your pings in time")))
                    return
                tally.accepted += accepted
                for rejection in rejections:
                    tally.rejected[rejection.reason] += 1
                tally.answered.observe(time.perf_counter() - started_s)
                tally.requests[202] = tally.requests.get(202, 0) + 1
                respond(Answer(202, body, _JSON))

            if admitted:
                self._producer.send(admitted, acknowledged)
            else:
                acknowledged(True)
        except BodyRefused as error:
            respond(self.refuse(Refused(error.status, error.slug, error.detail)))
        except Overloaded as error:
            tally.unacknowledged += received
            respond(self.refuse(_busy(str(error))))
        except Exception as error:
            # Its text could hold a position: only its type is told.
            log.error("a request failed: %s", type(error).__name__)
            tally.unacknowledged += received
            respond(self.refuse(Refused(500, "internal", "an error on our side; send these pings again")))

    def refuse(self, refused: Refused, more_headers: Headers = ()) -> Answer:
        """The problem document of a refusal."""
        requests = self._tally.requests
        requests[refused.status] = requests.get(refused.status, 0) + 1
        headers = dict.fromkeys((_PROBLEM, *refused.headers, *more_headers))
        document = problem(refused.status, refused.slug, refused.detail, refused.errors)
        return Answer(refused.status, document, tuple(headers))

    def _refuse_one(self, rejection: Rejection, started_s: float) -> Answer:
        """A malformed ping that is the whole body: an error of the request (in a batch, a verdict)."""
        self._tally.rejected[MALFORMED] += 1
        self._tally.answered.observe(time.perf_counter() - started_s)
        error = {"loc": rejection.member, "detail": rejection.detail}
        return self.refuse(
            Refused(422, "malformed-ping", "the ping is malformed; fix the app, do not send it again", errors=(error,))
        )

    def _judge(
        self, pings: Sequence[PingIn | Malformed], rule: DriverRule
    ) -> tuple[list[PingVerdict] | None, list[Ping], list[Rejection]]:
        """The verdicts in order (None: one ping without an id, accepted), the admitted pings, why others are not."""
        now_ms, received_at_ms, limits = self._clock.now_ms(), time.time_ns() // 1_000_000, self._limits
        results: list[PingVerdict] = []
        admitted: list[Ping] = []
        rejections: list[Rejection] = []
        for ping in pings:
            verdict = (
                admit(ping, rule, now_ms, received_at_ms, limits)
                if type(ping) is PingIn
                else Rejection(MALFORMED, ping.detail, ping.member)  # type: ignore[union-attr]
            )
            if type(verdict) is Ping:
                admitted.append(verdict)
                ping_id = verdict.ping_id
                results.append(PingVerdict(ping_id=ping_id, status="accepted") if ping_id else ACCEPTED)
            else:
                assert isinstance(verdict, Rejection)
                rejections.append(verdict)
                self._remember(rule.driver_id or _named(ping), received_at_ms, _fix_time_ms(ping), verdict.reason)
                ping_id = ping.ping_id or ""
                results.append(
                    PingVerdict(
                        ping_id=ping_id if valid_id(ping_id) else "",
                        status="rejected",
                        reason=verdict.reason,
                        detail=verdict.detail,
                    )
                )
        if len(results) == 1 and results[0] is ACCEPTED:
            return None, admitted, rejections
        return results, admitted, rejections


_JSON: Headers = ((b"content-type", b"application/json"),)
_PROBLEM = (b"content-type", PROBLEM_TYPE.encode())


def _settle(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():  # a server that is stopping may have cancelled who waits for it
        answered.set_result(answer)


def _named(ping: PingIn | Malformed) -> str:
    return (ping.driver_id or "") if isinstance(ping, PingIn) else ""


def _fix_time_ms(ping: PingIn | Malformed) -> int | None:
    return ping.fix_time_ms if isinstance(ping, PingIn) else None


def _busy(why: str) -> Refused:
    return Refused(503, "unavailable", f"{why}; send these pings again after {RETRY_AFTER_S} s", _RETRY)


def _rule_of(principal: Principal) -> DriverRule:
    if FLEET_SCOPE in principal.scopes:
        return DriverRule("")
    if DRIVER_SCOPE not in principal.scopes:
        raise lacks_scope("the token has neither scope `driver` nor scope `fleet`", "driver fleet")
    if not valid_id(principal.subject):
        raise Refused(403, "forbidden", "the token's sub is not a driver id: 1 to 64 characters of A-Z a-z 0-9 _ . : -")
    return DriverRule(principal.subject)
