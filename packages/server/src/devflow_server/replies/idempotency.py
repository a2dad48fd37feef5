"""Carries out a request with an `Idempotency-Key` once, however often any worker receives it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

import orjson
import structlog
from devflow_core.errors import (
    Conflict,
    DevFlowError,
    Overloaded,
    QueueFull,
    StoreError,
)
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest
from devflow_core.wire import Dialect
from devflow_store import Claim, Completed, InFlight, NewClaim, UnknownOutcome
from devflow_store.keyed_outcomes import (
    check_idempotency_key,
    cut_off,
    key_reused,
    may_have_cost,
    outcome_unknown,
    still_under_way,
)

from devflow_server.auth import caller_id, presented_secrets
from devflow_server.error_responses import InternalError
from devflow_server.http.message import UPSTREAM_KEY_HEADER
from devflow_server.off_loop import run_by_size
from devflow_server.replies.keyed_call import KeyedCall, KeyedRequest
from devflow_server.replies.reply import LiveReply
from devflow_server.replies.stored_response import (
    ResponseRecorder,
    StoredResponse,
    failed_response,
)
from devflow_server.routes import RequestContext

MAX_KEYED_CALLS = 9_000
"""The most keyed calls under way; they outlive their clients, so connections do not bound them."""
_HEADER = "Idempotency-Key"
_WAIT_TIMEOUT_S = 600.0
"""Seconds that a request waits for another one with its key before it is refused."""
_MIN_PAUSE_S = 0.2
"""The first pause in seconds between tries to record a call; it doubles with each further one."""
_MAX_PAUSE_S = 5.0
"""The longest pause in seconds between tries to record a call, while the ledger is not writable."""


class ClaimStore(Protocol):
    """The port of the claims on keys, shared by all workers; see `devflow_store.Idempotency`."""

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        """Claim a key to carry its request out, or learn what became of the request.

        Raises:
            StoreError: it is unknown whether the key was claimed; `abandon` settles this.
        """
        ...

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        """Wait for the outcome of a request in flight; None if the key has to be claimed again.

        The result is still `InFlight` after `timeout_s` seconds.

        Raises:
            StoreError: the store cannot be read.
        """
        ...

    async def finish(self, entry_id: str, payload: bytes) -> None:
        """Store the reply for every client that sends the key again.

        Raises:
            Conflict: the claim was given to another process meanwhile.
            StoreError: it could not be written.
        """
        ...

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        """Free the key unless a call may be billed; return whether the reply was stored instead.

        Raises:
            StoreError: it could not be written.
        """
        ...


class IdempotencyHandler:
    """Carries out each key's request once; an async context manager that owns the calls' tasks.

    One task does everything from the claim to the stored reply. A client that leaves does not
    cancel it, since the reply is promised to every client that sends the key again. On exit, calls
    still under way are cancelled, and what is known of them is stored.

    Args:
        claims: shared by all workers.
        pipeline: carries the requests out.
    """

    def __init__(self, claims: ClaimStore, pipeline: Pipeline) -> None:
        self._claims = claims
        self._pipeline = pipeline
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._log = structlog.get_logger("devflow.idempotency")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        # first: a call that cannot be recorded then stops retrying
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self, timeout_s: float) -> None:
        """Let the calls under way end; after `timeout_s` seconds, cancel and record the rest."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while self._tasks and loop.time() < end_s:
            await asyncio.wait(self._tasks, timeout=end_s - loop.time())
        # a copy, since each task removes itself from the set when it ends
        cut = tuple(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    async def open(
        self, context: RequestContext, request: ChatRequest, dialect: Dialect, key: str
    ) -> KeyedCall | StoredResponse:
        """Return the call that carries the request out, or the reply stored under its key.

        If another call is carrying out the request, wait for its reply.

        Args:
            context: the HTTP request.
            request: the request in it.
            dialect: the dialect of its reply.
            key: the idempotency key as the client sent it.

        Raises:
            InvalidRequest: the idempotency key is malformed.
            KeyReused: the key was used for another request.
            Conflict: the request is still being carried out after ten minutes.
            QueueFull: too many keyed calls are under way.
            Overloaded: the gateway is going down.
            StoreError: the key cannot be claimed.
        """
        check_idempotency_key(key, _HEADER)
        size = len(context.exchange.request.body)
        keyed = KeyedRequest(
            scope=caller_id(context.caller, request.user_key),
            key=key,
            fingerprint=await run_by_size(size, partial(_fingerprint, context)),
            entry_id=context.request_id,
            request=request,
            dialect=dialect,
            secrets=presented_secrets(context.exchange.request.headers),
        )
        end_s = asyncio.get_running_loop().time() + _WAIT_TIMEOUT_S
        while True:
            # checked in every round: the wait for another request may have taken minutes
            if len(self._tasks) >= MAX_KEYED_CALLS:
                raise QueueFull("Too many calls with an Idempotency-Key are under way. Ask again.")
            call = self._start(keyed, context.exchange.keep_body())
            found = await call.wait_for_claim()
            if isinstance(found, NewClaim):
                return call
            if isinstance(found, InFlight):
                left_s = end_s - asyncio.get_running_loop().time()
                found = await self._claims.wait(keyed.scope, key, left_s)
            if found is not None:
                return _stored_of(found, keyed)

    def _start(self, keyed: KeyedRequest, give_body_back: Callable[[], None]) -> KeyedCall:
        call = KeyedCall(keyed)
        for secret in keyed.secrets:
            KNOWN_SECRETS.hold(secret)  # its client may leave before the call ends
        task = asyncio.get_running_loop().create_task(self._claim(call))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, call, give_body_back))
        return call

    def _end(
        self, call: KeyedCall, give_body_back: Callable[[], None], task: asyncio.Task[None]
    ) -> None:
        """Finish a call, however its task has ended: its readers must not wait for ever."""
        self._tasks.discard(task)
        give_body_back()
        keyed = call.keyed
        for secret in keyed.secrets:
            KNOWN_SECRETS.release(secret)
        if call.response is None:
            # both: one reader may wait for the claim, another for the reply
            call.fail(call.failure or _going_down())
            call.finish(_failed(call.failure or _going_down(), keyed))

    async def _claim(self, call: KeyedCall) -> None:
        """Run a call's task: claim the key and, if that succeeds, carry the request out."""
        keyed = call.keyed
        try:
            found = await self._claims.claim(
                keyed.scope, keyed.key, keyed.fingerprint, keyed.entry_id
            )
        except StoreError as error:
            call.fail(error)
            # the claim may have been written in spite of the error
            await self._record(call, _failed(error, keyed), is_billed=False)
            return
        call.set_claim(found)
        if isinstance(found, NewClaim):
            await self._carry_out(call)

    async def _carry_out(self, call: KeyedCall) -> None:
        keyed = call.keyed
        recorder = ResponseRecorder(keyed.request, keyed.dialect, keyed.entry_id)
        is_cut = False
        try:
            async with self._pipeline.stream(keyed.request, entry_id=keyed.entry_id) as reply:
                live = LiveReply(reply, "miss")
                async for event in reply:
                    piece = recorder.add(event, live)
                    call.head = recorder.head
                    call.add(piece)
        except DevFlowError as error:
            call.failure = error
        except asyncio.CancelledError:
            is_cut, call.failure = True, cut_off(_HEADER, keyed.entry_id)
        except Exception:  # noqa: BLE001 - the key is settled and the client answered
            self._log.exception("fault", request_id=keyed.entry_id)
            call.failure = InternalError("The gateway has failed.")
        call.metadata = recorder.metadata
        response = recorder.close(call.failure)
        # once an event has come, the call costs something, however it ended
        is_billed = recorder.has_begun or (not is_cut and may_have_cost(call.failure))
        is_kept = await self._record(call, response, is_billed=is_billed)
        if is_cut and not is_kept:  # no call was sent, so the client may simply retry
            call.failure = _going_down()
            response = _failed(call.failure, keyed)
        call.finish(response)

    async def _record(self, call: KeyedCall, response: StoredResponse, *, is_billed: bool) -> bool:
        """Store the outcome of a call; return whether its reply is kept.

        While the ledger cannot be written, the client gets its reply at once, and storing is
        retried.
        """
        payload, pause_s = response.encode(), _MIN_PAUSE_S
        entry_id = call.keyed.entry_id
        while True:
            try:
                if is_billed:
                    await self._claims.finish(entry_id, payload)
                    return True
                return await self._claims.abandon(entry_id, payload)
            except Conflict:
                return False  # the claim is gone: this process was believed dead
            except StoreError:
                call.finish(response)
            if self._is_closing:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def _stored_of(found: Claim, keyed: KeyedRequest) -> StoredResponse:
    """Return the reply stored under a key, or the error that tells of an unknown outcome.

    Raises:
        Conflict: the request is still being answered.
        KeyReused: the key was used for another request.
    """
    match found:
        case Completed():
            return StoredResponse.decode(found.payload)
        case UnknownOutcome():
            return _failed(outcome_unknown(_HEADER, found.entry_id), keyed, found.entry_id)
        case InFlight():
            raise still_under_way(_HEADER, found.entry_id)
        case _:
            raise key_reused(_HEADER)


def _failed(
    error: DevFlowError, keyed: KeyedRequest, entry_id: str | None = None
) -> StoredResponse:
    return failed_response(error, keyed.request, keyed.dialect, entry_id or keyed.entry_id)


def _going_down() -> Overloaded:
    return Overloaded("The gateway is going down. Ask again.", retry_after_s=1.0)


def _fingerprint(context: RequestContext) -> str:
    """Return a hash of all that determines the reply: route, body, and our headers."""
    request = context.exchange.request
    # only headers that change the reply or who pays for it; a retry may differ in all others
    named: Any = [
        [name, value]
        for name, value in sorted(request.headers.items())
        if name.startswith(("x-devflow-", UPSTREAM_KEY_HEADER, "anthropic-"))
    ]
    digest = hashlib.sha256(orjson.dumps([context.route.path, named]))
    digest.update(request.body)
    return digest.hexdigest()
