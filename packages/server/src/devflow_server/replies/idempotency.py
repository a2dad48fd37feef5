"""`Idempotency-Key`: a request is carried out once, whoever asks again, wherever it is asked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from devflow_core.errors import AllCandidatesFailed, Conflict, DevFlowError, InvalidRequest
from devflow_core.journal import MAY_BE_BILLED
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import Translator, translator
from devflow_store import Claim, Done, InFlight, Mismatch, New, UnknownOutcome

from devflow_server.error_responses import KeyReused
from devflow_server.http.message import UPSTREAM_KEY_HEADER
from devflow_server.replies.reply import Answer
from devflow_server.replies.shared_calls import Flight, FlightAnswer, Flights, OnEnd
from devflow_server.routes import Visit

LEASE_S = 30.0
"""A worker that has not renewed its claim for so long is taken for dead."""
_RENEW_S = 10.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PATIENCE_S = 600.0


class Claims(Protocol):
    """Where claims on keys are kept, for all workers; see `devflow_store.Idempotency`."""

    async def claim(self, scope: str, key: str, fingerprint: str, lease_s: float) -> Claim:
        """Be the one who carries a request out, or learn what became of it."""
        ...

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim:
        """What becomes of a request in flight."""
        ...

    async def extend(self, token: str, lease_s: float) -> None:
        """It is still being carried out."""
        ...

    async def finish(self, token: str, payload: bytes) -> None:
        """Keep the reply."""
        ...

    async def abandon(self, token: str) -> None:
        """Nothing was carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reply as it was sent, byte for byte."""

    status: int
    request_id: str
    facts: Mapping[str, str]
    """Its `X-DevFlow-…` headers."""
    body: bytes

    def encode(self) -> bytes:
        """For the store."""
        head = {"status": self.status, "request_id": self.request_id, "facts": dict(self.facts)}
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def decode(cls, payload: bytes) -> Kept:
        """From the store."""
        head, _, body = payload.partition(b"\n")
        return cls(**orjson.loads(head), body=body)


class Once:
    """Carries each idempotency key out once.

    The call goes on when its client goes: the reply is promised to whoever sends the key again.

    Args:
        claims: shared by all workers.
        flights: where calls are made.
    """

    def __init__(self, claims: Claims, flights: Flights) -> None:
        self._claims = claims
        self._flights = flights
        self._mine: set[str] = set()

    async def claim(self, visit: Visit, key: str) -> Kept | str:
        """The reply that was given to this key, or a token to carry the request out with.

        Raises:
            InvalidRequest: this is no key.
            KeyReused: the key stands for another request.
            Conflict: what became of the request is not known, so it is not done again.
        """
        if not _KEY.fullmatch(key):
            raise InvalidRequest("Idempotency-Key: send 1 to 255 visible ASCII characters.")
        scope, fingerprint = visit.caller.name, _fingerprint(visit)
        found = await self._claims.claim(scope, key, fingerprint, LEASE_S)
        while isinstance(found, InFlight):
            found = await self._claims.wait(scope, key, _PATIENCE_S)
            if isinstance(found, Mismatch):  # it was abandoned: the key is free again
                found = await self._claims.claim(scope, key, fingerprint, LEASE_S)
        match found:
            case New():
                return found.token
            case Done():
                return Kept.decode(found.payload)
            case Mismatch():
                raise KeyReused("This Idempotency-Key was sent with another request.")
            case UnknownOutcome():
                raise Conflict(
                    "What became of the request with this Idempotency-Key is not known: it may"
                    " have been carried out. Look into the ledger, then ask with another key."
                )

    def open(
        self, visit: Visit, request: ChatRequest, token: str
    ) -> AbstractAsyncContextManager[Answer]:
        """The answer to a request that was claimed; the reply is kept when it is whole."""
        return self._open(visit, request, token)

    async def renew(self) -> None:
        """Renew the claims of calls under way, for ever."""
        while True:
            await asyncio.sleep(_RENEW_S)
            for token in tuple(self._mine):
                with suppress(Conflict):
                    await self._claims.extend(token, LEASE_S)

    @asynccontextmanager
    async def _open(self, visit: Visit, request: ChatRequest, token: str) -> AsyncGenerator[Answer]:
        self._mine.add(token)
        on_end = self._keep(visit, request, token)
        flight = self._flights.start(request, visit.request_id, is_kept=True, on_end=on_end)
        async with flight.read() as events:
            yield FlightAnswer(flight, events, is_own=True)

    def _keep(self, visit: Visit, request: ChatRequest, token: str) -> OnEnd:
        wire = visit.route.wire
        request_id = visit.request_id

        async def keep(flight: Flight) -> None:
            self._mine.discard(token)
            assert wire is not None  # noqa: S101 - a route of chat has its dialect
            if flight.error is not None and not _may_have_cost(flight):
                await self._claims.abandon(token)
                return
            kept = _kept(flight, request, translator(wire), request_id)
            await self._claims.finish(token, kept.encode())

        return keep


def replay(visit: Visit, kept: Kept, headers: list[tuple[str, str]]) -> None:
    """Send a reply again, also after signs of life have begun the stream."""
    exchange = visit.exchange
    if exchange.is_started:
        exchange.write_now(kept.body)
        exchange.finish()
        return
    ids = [("x-devflow-request-id", kept.request_id), ("request-id", kept.request_id)]
    exchange.respond(
        kept.status,
        kept.body,
        [*headers, *ids, *kept.facts.items(), ("idempotent-replayed", "true")],
    )


def _kept(flight: Flight, request: ChatRequest, dialect: Translator, request_id: str) -> Kept:
    answer, error = flight.answer, flight.error
    if isinstance(error, DevFlowError):
        if not request.is_stream or answer is None:
            body = dialect.encode_error(error, request_id)
            return Kept(status=error.status_hint, request_id=request_id, facts={}, body=body)
        encoder = dialect.encoder(request)
        body = b"".join([encoder.encode(event) for event in flight.events])
        body += encoder.encode_error(error, request_id)
        return Kept(status=200, request_id=request_id, facts={}, body=body)
    assert answer is not None  # noqa: S101 - a flight without an error has an answer
    facts = answer.ended()
    if request.is_stream:
        encoder = dialect.encoder(request)
        encoder.annotate(facts.annotations())
        body = b"".join([encoder.encode(event) for event in flight.events])
    else:
        collector = Collector()
        for event in flight.events:
            collector.add(event)
        body = dialect.encode_response(collector.response(), request, facts.annotations())
    return Kept(status=200, request_id=request_id, facts=dict(facts.headers()), body=body)


def _may_have_cost(flight: Flight) -> bool:
    """Whether a failed call may be billed, so that asking again could cost twice."""
    error = flight.error
    failures = error.errors if isinstance(error, AllCandidatesFailed) else (error,)
    return bool(flight.events) or any(isinstance(one, MAY_BE_BILLED) for one in failures)


def _fingerprint(visit: Visit) -> str:
    """Of all that decides about the reply: route, body, and our headers that change it."""
    request = visit.exchange.request
    named: Any = [
        [name, value]
        for name, value in sorted(request.headers.items())
        if name.startswith(("x-devflow-", UPSTREAM_KEY_HEADER, "anthropic-"))
    ]
    digest = hashlib.sha256(orjson.dumps([visit.route.path, named]))
    digest.update(request.body)
    return digest.hexdigest()
