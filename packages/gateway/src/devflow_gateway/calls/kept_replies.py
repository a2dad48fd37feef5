"""Keeps the replies of keyed requests, so that a program that starts again does not ask twice."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any, cast

import orjson
from devflow_core.attribution import Attribution
from devflow_core.errors import Conflict, InvalidRequest
from devflow_core.ids import new_id
from devflow_core.ledger import LedgerEntry
from devflow_core.messages import OpaquePart, Part, Reasoning, Text, ToolCall
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.routing import Candidate, Route, Task
from devflow_core.shielding import finish_despite_cancel
from devflow_routing.decision import task_from_json
from devflow_store import Claim, Completed, InFlight, Mismatch, NewClaim, Store, UnknownOutcome
from devflow_store.keyed_outcomes import key_reused, still_under_way
from pydantic import TypeAdapter, ValidationError

MAX_WAIT_S = 600.0
"""The most seconds to wait for a process that is asking the same request."""
MAX_TRIES = 100
"""The failed runs of one request after which it is refused."""
_NAME = "idempotency_key"
_SCOPE = "python"
_PARTS = {one.__name__: one for one in (Text, Reasoning, ToolCall, OpaquePart)}


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the ledger knows of a request from earlier runs."""

    key: str
    """The key of the answer or, if there is none, the key to ask under."""
    completion: Completion | None
    """The answer; None if there is none."""
    lost_usd: Decimal
    """The booked cost of the runs without an answer, in USD."""


class KeptReplies:
    """The replies that were given under idempotency keys, for a day.

    Args:
        store: the durable ledger, open; its opener closes it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims = store.idempotency

    async def find(self, key: str, *, wait_s: float = 0.0) -> Earlier:
        """Return the answer of an earlier run of a request, and what runs without one have cost.

        A run that failed or was killed, and that may be billed, keeps its numbered key: the next
        one is asked under another.

        Args:
            key: of the request, the same in every run.
            wait_s: how long to wait for a process that is asking the request now, in seconds.

        Raises:
            Conflict: `MAX_TRIES` runs have failed, each of which may be billed.
            StoreError: the ledger cannot be read.
        """
        lost_usd = Decimal(0)
        for number in range(1, MAX_TRIES + 1):
            numbered = f"{key}.{number}"
            found = await self._claims.wait(_SCOPE, numbered, wait_s)
            match found:
                case Completed():
                    completion = _decode(found.payload)
                    if isinstance(completion, Completion):
                        return Earlier(numbered, completion, lost_usd)
                    lost_usd += self._cost_of(completion)
                case UnknownOutcome():
                    lost_usd += self._cost_of(found.entry_id)
                case _:
                    return Earlier(numbered, None, lost_usd)
        raise Conflict(f"This request has failed {MAX_TRIES} times. Ask under another key.")

    async def ask(
        self,
        request: ChatRequest,
        key: str,
        carry_out: Callable[[str], Awaitable[Completion]],
    ) -> Completion:
        """Return the kept reply of a request, or carry it out and keep its reply.

        Args:
            request: what is asked.
            key: of the request, the same in every run.
            carry_out: asks, and books under the id that it is given.

        Raises:
            Conflict: another process is still asking after `MAX_WAIT_S`, `MAX_TRIES` runs have
                failed, or the key was used for another request.
            StoreError: the ledger cannot be read or written.
            DevFlowError: the request failed; unless it may be billed, its key is free again.
        """
        earlier = await self.find(key, wait_s=MAX_WAIT_S)
        if earlier.completion is not None:
            return earlier.completion
        entry_id = new_id("req")
        claim = await self._claims.claim(_SCOPE, earlier.key, fingerprint(request), entry_id)
        if not isinstance(claim, NewClaim):
            raise _conflict(claim)
        try:
            completion = await carry_out(entry_id)
        except BaseException:
            failure = orjson.dumps({"failed": entry_id})
            await finish_despite_cancel(self._claims.abandon(entry_id, failure))
            raise
        await finish_despite_cancel(self._claims.finish(entry_id, _encode(completion)))
        return completion

    def _cost_of(self, entry_id: str) -> Decimal:
        entry = self._store.entry(entry_id) if entry_id else None
        return Decimal(0) if entry is None else entry.cost_usd


def fingerprint(request: ChatRequest) -> str:
    """Return a hash of all that determines the reply: labels, cost limit and key are left out.

    Raises:
        InvalidRequest: the request holds values that are not JSON.
    """
    bare = replace(request, attribution=Attribution(), max_cost_usd=None, user_key=None, context=())
    try:
        text = orjson.dumps(bare, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidRequest(
            f"The request holds something that is not JSON ({error}), so it has no key of its own."
        ) from error
    return hashlib.sha256(text).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def _conflict(found: Claim) -> Conflict:
    if isinstance(found, Mismatch):
        return key_reused(_NAME)
    return still_under_way(_NAME, found.entry_id if isinstance(found, InFlight) else "unknown")


@cache
def _adapters() -> tuple[TypeAdapter[ChatResponse], TypeAdapter[LedgerEntry]]:
    # made when first needed: it takes milliseconds, and most programs use no keys
    return TypeAdapter(ChatResponse), TypeAdapter(LedgerEntry)


def _encode(completion: Completion) -> bytes:
    response, entry = _adapters()
    parts = [
        [type(one).__name__, TypeAdapter(type(one)).dump_python(one, mode="json")]
        for one in completion.parts
    ]
    bare = replace(completion.response, parts=(), raw_response=None)
    return orjson.dumps(
        {
            "response": response.dump_python(bare, mode="json"),
            "parts": parts,
            "entry": entry.dump_python(completion.entry, mode="json"),
        }
    )


def _decode(payload: bytes) -> Completion | str:
    """Return a kept reply, or the id of a failed run's entry ("" if the payload is unreadable)."""
    try:
        kept: dict[str, Any] = orjson.loads(payload)
        if "failed" in kept:
            return str(kept["failed"])
        of_response, of_entry = _adapters()
        parts = tuple(_part(name, fields) for name, fields in kept["parts"])
        response = replace(of_response.validate_python(kept["response"]), parts=parts)
        entry = of_entry.validate_python(kept["entry"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return ""  # written by another version: asked again
    return Completion(response=response, route=_route_of(entry), entry=entry)


def _part(name: str, fields: Any) -> Part:
    return TypeAdapter[Part](_PARTS[name]).validate_python(fields)


def _route_of(entry: LedgerEntry) -> Route:
    """Return the route of a kept reply: the model that answered, and the task."""
    try:
        task = task_from_json(orjson.loads(entry.decision or ""))
    except (ValueError, KeyError, TypeError):
        task = Task(type="analysis", complexity="medium", confidence=0.0)
    answered = Candidate(model=entry.model, reason="answered in an earlier run")
    return Route(candidates=(answered,), task=task, requested=entry.requested_model)
