"""`Idempotency-Key`: a request is carried out once, whoever asks again, wherever it is asked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import orjson
from devflow_core.errors import AllCandidatesFailed, Conflict, DevFlowError, InvalidRequest
from devflow_core.estimates import POSSIBLY_BILLED_ERRORS
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import Translator, get_translator
from devflow_store import Claim, Completed, InFlight, Mismatch, NewClaim, UnknownOutcome

from devflow_server.auth import caller_id
from devflow_server.error_responses import KeyReused
from devflow_server.http.message import UPSTREAM_KEY_HEADER
from devflow_server.off_loop import run_by_size
from devflow_server.replies.reply import HttpReply
from devflow_server.replies.shared_calls import OnEnd, SharedCall, SharedCalls, SharedReply
from devflow_server.routes import RequestContext

LEASE_S = 30.0
"""A worker that has not renewed its claim for so long is taken for dead."""
_RENEW_INTERVAL_S = 10.0
_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT_TIMEOUT_S = 600.0


class ClaimStore(Protocol):
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
class StoredResponse:
    """A reply as it was sent, byte for byte."""

    status: int
    request_id: str
    metadata: Mapping[str, str]
    """Its `X-DevFlow-…` headers."""
    body: bytes

    def encode(self) -> bytes:
        """For the store."""
        head = {
            "status": self.status,
            "request_id": self.request_id,
            "metadata": dict(self.metadata),
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def decode(cls, payload: bytes) -> StoredResponse:
        """From the store."""
        head, _, body = payload.partition(b"\n")
        return cls(**orjson.loads(head), body=body)


class IdempotencyHandler:
    """Carries each idempotency key out once.

    The call goes on when its client goes: the reply is promised to whoever sends the key again.

    Args:
        claims: shared by all workers.
        calls: where calls are made.
    """

    def __init__(self, claims: ClaimStore, calls: SharedCalls) -> None:
        self._claims = claims
        self._calls = calls
        self._own_tokens: set[str] = set()

    async def claim(
        self, context: RequestContext, request: ChatRequest, key: str
    ) -> StoredResponse | str:
        """The reply that was given to this key, or a token to carry the request out with.

        Raises:
            InvalidRequest: this is no key.
            KeyReused: the key stands for another request.
            Conflict: what became of the request is not known, so it is not done again.
        """
        if not _KEY_PATTERN.fullmatch(key):
            raise InvalidRequest("Idempotency-Key: send 1 to 255 visible ASCII characters.")
        scope = caller_id(context.caller, request.user_key)
        body = context.exchange.request.body
        fingerprint = await run_by_size(len(body), partial(_fingerprint, context))
        found = await self._claims.claim(scope, key, fingerprint, LEASE_S)
        while isinstance(found, InFlight):
            found = await self._claims.wait(scope, key, _WAIT_TIMEOUT_S)
            if isinstance(found, Mismatch):  # it was abandoned: the key is free again
                found = await self._claims.claim(scope, key, fingerprint, LEASE_S)
        match found:
            case NewClaim():
                return found.token
            case Completed():
                return StoredResponse.decode(found.payload)
            case Mismatch():
                raise KeyReused("This Idempotency-Key was sent with another request.")
            case UnknownOutcome():
                raise Conflict(
                    "What became of the request with this Idempotency-Key is not known: it may"
                    " have been carried out. Look into the ledger, then ask with another key."
                )

    def open(
        self, context: RequestContext, request: ChatRequest, token: str
    ) -> AbstractAsyncContextManager[HttpReply]:
        """The reply to a claimed request; it is stored when the call has ended."""
        return self._open(context, request, token)

    async def renew_claims(self) -> None:
        """Renew the claims of calls under way, for ever."""
        while True:
            await asyncio.sleep(_RENEW_INTERVAL_S)
            for token in tuple(self._own_tokens):
                with suppress(Conflict):
                    await self._claims.extend(token, LEASE_S)

    @asynccontextmanager
    async def _open(
        self, context: RequestContext, request: ChatRequest, token: str
    ) -> AsyncGenerator[HttpReply]:
        self._own_tokens.add(token)
        on_end = self._make_on_end(context, request, token)
        call = self._calls.start(request, context.request_id, is_detached=True, on_end=on_end)
        async with call.read() as events:
            yield SharedReply(call, events, is_own=True)

    def _make_on_end(self, context: RequestContext, request: ChatRequest, token: str) -> OnEnd:
        wire = context.route.wire
        request_id = context.request_id

        async def keep(call: SharedCall) -> None:
            self._own_tokens.discard(token)
            assert wire is not None  # noqa: S101 - a route of chat has its dialect
            if call.error is not None and not _may_be_billed(call):
                await self._claims.abandon(token)
                return
            stored = _build_stored(call, request, get_translator(wire), request_id)
            await self._claims.finish(token, stored.encode())

        return keep


def send_stored(
    context: RequestContext, stored: StoredResponse, headers: list[tuple[str, str]]
) -> None:
    """Send a reply again, also after pings have begun the stream."""
    exchange = context.exchange
    if exchange.is_started:
        exchange.write_now(stored.body)
        exchange.finish()
        return
    ids = [("x-devflow-request-id", stored.request_id), ("request-id", stored.request_id)]
    exchange.respond(
        stored.status,
        stored.body,
        [*headers, *ids, *stored.metadata.items(), ("idempotent-replayed", "true")],
    )


def _build_stored(
    call: SharedCall, request: ChatRequest, dialect: Translator, request_id: str
) -> StoredResponse:
    reply, error = call.reply, call.error
    if isinstance(error, DevFlowError):
        if not request.is_stream or reply is None:
            body = dialect.encode_error(error, request_id)
            return StoredResponse(
                status=error.status_hint, request_id=request_id, metadata={}, body=body
            )
        encoder = dialect.make_encoder(request)
        body = b"".join([encoder.encode(event) for event in call.events])
        body += encoder.encode_error(error, request_id)
        return StoredResponse(status=200, request_id=request_id, metadata={}, body=body)
    assert reply is not None  # noqa: S101 - a call without an error has a reply
    metadata = reply.final_metadata()
    if request.is_stream:
        encoder = dialect.make_encoder(request)
        encoder.annotate(metadata.annotations())
        body = b"".join([encoder.encode(event) for event in call.events])
    else:
        collector = Collector()
        for event in call.events:
            collector.add(event)
        body = dialect.encode_response(collector.to_response(), request, metadata.annotations())
    return StoredResponse(
        status=200, request_id=request_id, metadata=dict(metadata.headers()), body=body
    )


def _may_be_billed(call: SharedCall) -> bool:
    """Whether a failed call may be billed, so that asking again could cost twice."""
    error = call.error
    failures = error.errors if isinstance(error, AllCandidatesFailed) else (error,)
    return bool(call.events) or any(isinstance(one, POSSIBLY_BILLED_ERRORS) for one in failures)


def _fingerprint(context: RequestContext) -> str:
    """Of all that decides about the reply: route, body, and our headers that change it."""
    request = context.exchange.request
    named: Any = [
        [name, value]
        for name, value in sorted(request.headers.items())
        if name.startswith(("x-devflow-", UPSTREAM_KEY_HEADER, "anthropic-"))
    ]
    digest = hashlib.sha256(orjson.dumps([context.route.path, named]))
    digest.update(request.body)
    return digest.hexdigest()
