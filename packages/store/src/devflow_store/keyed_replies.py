"""Carries out each idempotency key's request once for a program, and keeps the reply.

The server keeps replies as the bytes that it sent; a program gets the events again; a batch, which
asks anew what has failed, keeps whole answers (`devflow_gateway.calls.batch_replies`). All claim
their keys in the same table, each in a scope of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

import orjson
import structlog
from devflow_core.errors import Conflict, DevFlowError, StoreError
from devflow_core.events import Event, Finished
from devflow_core.ids import new_id
from devflow_core.pipeline import Reply
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest
from devflow_core.shielding import finish_despite_cancel

from devflow_store.idempotency import (
    MIN_POLL_S,
    Claim,
    Completed,
    InFlight,
    Mismatch,
    NewClaim,
    UnknownOutcome,
)
from devflow_store.keyed_outcomes import (
    check_idempotency_key,
    cut_off,
    key_reused,
    may_have_cost,
    outcome_unknown,
    still_under_way,
)
from devflow_store.stored_events import decode_reply, encode_failure, encode_reply

_NAME = "idempotency_key"
_SCOPE = "program"
"""The owner of the keys of every program with this ledger; client keys of the server have ids."""
_log = structlog.get_logger("devflow.idempotency")
Opener = Callable[[str], AbstractAsyncContextManager[Reply]]
"""Opens the reply to a request, to be booked under this entry id."""


class Claims(Protocol):
    """The port of the claims on keys; see `devflow_store.idempotency.Idempotency`."""

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        """Claim a key, or learn what became of its request."""
        ...

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        """Wait for the outcome of a request in flight; None: the key has to be claimed again."""
        ...

    async def finish(self, entry_id: str, payload: bytes) -> None:
        """Store the reply for everybody who sends the key again."""
        ...

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        """Free the key unless a call may be billed; return whether the reply was stored."""
        ...


class KeyedReplies:
    """Opens replies under idempotency keys.

    Args:
        claims: the claims, shared by all processes with the ledger.
        timeout_s: how long to wait for another caller that carries out the same request.
    """

    def __init__(self, claims: Claims, *, timeout_s: float) -> None:
        self._claims = claims
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def open(
        self, key: str, request: ChatRequest, session: ContextInjector | None, opener: Opener
    ) -> AsyncGenerator[Reply]:
        """Open the reply to a request, or the one that is stored under its key.

        Leaving early cancels the call; the key then stands for that, since it may be billed.

        Args:
            key: 1 to 255 visible ASCII characters.
            request: what is asked, before any context is added.
            session: the session whose context is added; it is told apart by its id.
            opener: opens the reply if there is none.

        Raises:
            InvalidRequest: the key is malformed.
            KeyReused: the key was used for another request.
            OutcomeUnknown: the process that carried it out was killed.
            Conflict: the request is still being carried out after the timeout.
            DevFlowError: the call failed, now or under this key before.
            StoreError: the key cannot be claimed.
        """
        check_idempotency_key(key, _NAME)
        entry_id = new_id("req")
        stored = await self._claim(key, _fingerprint(request, session), entry_id)
        if stored is not None:
            yield decode_reply(stored, request)
            return
        call = _ClaimedCall(self._claims, entry_id)
        try:
            async with opener(entry_id) as reply:
                reply.attach(call.keep(aiter(reply), reply))
                yield reply
        except BaseException as error:
            await finish_despite_cancel(call.end(error))
            raise
        await finish_despite_cancel(call.end(None))

    async def _claim(self, key: str, fingerprint: str, entry_id: str) -> bytes | None:
        """Claim a key; return the stored reply, or None if the request is to be carried out."""
        while True:
            try:
                found: Claim | None = await self._claims.claim(_SCOPE, key, fingerprint, entry_id)
            except StoreError:
                with suppress(StoreError):  # it may have been written in spite of the error
                    await self._claims.abandon(entry_id, b"")
                raise
            if isinstance(found, InFlight):
                found = await self._claims.wait(_SCOPE, key, self._timeout_s)
            if found is not None:  # None: nothing was carried out, and the key is free
                return _stored_of(found)


def _stored_of(found: Claim) -> bytes | None:
    """Return the stored reply; None if the request is to be carried out now.

    Raises:
        Conflict: the request is under way, or its outcome is unknown.
        KeyReused: the key was used for another request.
    """
    match found:
        case NewClaim():
            return None
        case Completed():
            return found.payload
        case _:
            raise conflict_of(found, _NAME)


def conflict_of(found: Completed | InFlight | Mismatch | UnknownOutcome, name: str) -> Conflict:
    """Return why a request cannot be carried out under a claimed key.

    Args:
        found: the claim of the other request.
        name: what the message calls the key.
    """
    match found:
        case UnknownOutcome():
            return outcome_unknown(name, found.entry_id)
        case InFlight():
            return still_under_way(name, found.entry_id)
        case Completed() | Mismatch():
            return key_reused(name)


async def write_outcome(entry_id: str, storing: Awaitable[object]) -> None:
    """Write what became of a call; if that fails, log it, as the caller's reply is there.

    The key then stays claimed until this process ends.

    Args:
        entry_id: of the call.
        storing: `finish` or `abandon` of its claim.
    """
    try:
        await storing
    except (StoreError, Conflict) as error:
        _log.warning("idempotency.not_stored", entry_id=entry_id, reason=error.message)


class _ClaimedCall:
    """One request under a key, from the claim to what is stored."""

    def __init__(self, claims: Claims, entry_id: str) -> None:
        self._claims = claims
        self._entry_id = entry_id
        self._events: list[Event] = []
        self._is_settled = False

    async def keep(self, events: AsyncIterator[Event], reply: Reply) -> AsyncIterator[Event]:
        """Relay the events; the reply is stored before its end is handed out."""
        async for event in events:
            self._events.append(event)
            if isinstance(event, Finished) and reply.entry is not None:
                storing = self._claims.finish(
                    self._entry_id, encode_reply(self._events, reply.entry)
                )
                await finish_despite_cancel(self._settle(storing))
            yield event

    async def end(self, error: BaseException | None) -> None:
        """Store the failure of a call that may be billed; free the key of any other.

        `error` is what ended the call; None if its reader left before the end. A reply that is
        stored already stays.
        """
        if self._is_settled:
            return
        failure = error if isinstance(error, DevFlowError) else cut_off(_NAME, self._entry_id)
        payload = encode_failure(failure)
        if self._events or (failure is error and may_have_cost(failure)):
            await self._settle(self._claims.finish(self._entry_id, payload))
        else:
            await self._settle(self._claims.abandon(self._entry_id, payload))

    async def _settle(self, storing: Awaitable[object]) -> None:
        self._is_settled = True
        await write_outcome(self._entry_id, storing)


class MemoryClaims:
    """Claims that live as long as this object, for a gateway whose book is in memory."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], tuple[str, str, bytes | None]] = {}

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        known = self._states.get((scope, key))
        if known is None:
            self._states[scope, key] = (fingerprint, entry_id, None)
            return NewClaim()
        return Mismatch() if known[0] != fingerprint else _state_of(known)

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        end_s = asyncio.get_running_loop().time() + timeout_s
        while (known := self._states.get((scope, key))) is not None:
            found = _state_of(known)
            if isinstance(found, Completed) or asyncio.get_running_loop().time() >= end_s:
                return found
            await asyncio.sleep(MIN_POLL_S)
        return None

    async def finish(self, entry_id: str, payload: bytes) -> None:
        place = self._place_of(entry_id)
        self._states[place] = (self._states[place][0], entry_id, payload)

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        del self._states[self._place_of(entry_id)]
        return False

    def _place_of(self, entry_id: str) -> tuple[str, str]:
        return next(place for place, known in self._states.items() if known[1] == entry_id)


def _state_of(known: tuple[str, str, bytes | None]) -> Claim:
    _fingerprint, entry_id, payload = known
    return InFlight(entry_id) if payload is None else Completed(payload)


def _fingerprint(request: ChatRequest, session: ContextInjector | None) -> str:
    """Return a hash of all that determines the reply: the request, and whose context it gets."""
    whose = getattr(session, "session_id", None)
    return hashlib.sha256(orjson.dumps([request, whose], default=str)).hexdigest()
