"""Keeps the replies of a batch, so that a program that starts again does not ask twice.

It stands beside `devflow_store.keyed_replies` because it promises the opposite. A key there stands
for one call: a failure that may be billed is its outcome, given to everybody who asks again. A key
here stands for the answer to one request of a batch: a run that failed or was killed is followed by
another under the next number, and what all of them have cost counts against the batch's limit. The
claims, their errors, and how an outcome is written are shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
from devflow_store import Completed, NewClaim, Store, UnknownOutcome
from devflow_store.keyed_replies import conflict_of, write_outcome
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
    spent_usd: Decimal
    """The booked cost in USD of all those runs: the answer, replies repaired, and failures."""


class EntryIds:
    """Hands out the ids under which a request and its repairs are booked, and keeps them.

    Args:
        first: the id of the request itself.
    """

    def __init__(self, first: str) -> None:
        self.known = [first]
        """The ids so far, in order; the first also before it is taken."""
        self._is_fresh = True

    def take(self) -> str:
        """Return the id for the next request that is asked."""
        if not self._is_fresh:
            self.known.append(new_id("req"))
        self._is_fresh = False
        return self.known[-1]


class BatchReplies:
    """The replies to a batch's requests under their numbered keys, for a day.

    Args:
        store: the durable ledger, open; its opener closes it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims = store.idempotency

    async def find(self, key: str, *, wait_s: float = 0.0) -> Earlier:
        """Return the answer of an earlier run of a request, and what all runs have cost.

        A run that failed or was killed, and that may be billed, keeps its numbered key: the next
        one is asked under another. Of a run that was killed, the cost of repairs is unknown.

        Args:
            key: of the request, the same in every run.
            wait_s: how long to wait for a process that is asking the request now, in seconds.

        Raises:
            Conflict: `MAX_TRIES` runs have failed, each of which may be billed.
            StoreError: the ledger cannot be read.
        """
        spent_usd = Decimal(0)
        for number in range(1, MAX_TRIES + 1):
            numbered = f"{key}.{number}"
            found = await self._claims.wait(_SCOPE, numbered, wait_s)
            match found:
                case Completed():
                    completion, ids = _decode(found.payload)
                    spent_usd += self._cost_of(ids)
                    if completion is not None:
                        spent_usd += completion.cost_usd
                        return Earlier(numbered, completion, spent_usd)
                case UnknownOutcome():
                    spent_usd += self._cost_of([found.entry_id])
                case _:
                    return Earlier(numbered, None, spent_usd)
        raise Conflict(f"This request has failed {MAX_TRIES} times. Ask under another key.")

    async def ask(
        self,
        request: ChatRequest,
        numbered_key: str,
        carry_out: Callable[[EntryIds], Awaitable[Completion]],
    ) -> Completion:
        """Carry a request out and keep its reply.

        Args:
            request: what is asked.
            numbered_key: the key to ask under, as `find` returned it.
            carry_out: asks, and books under the ids that it takes.

        Raises:
            Conflict: another process is asking under the key, or it was used for another request.
            StoreError: the key cannot be claimed.
            DevFlowError: the request failed; unless it may be billed, its key is free again.
        """
        entry_id = new_id("req")
        claim = await self._claims.claim(_SCOPE, numbered_key, fingerprint(request), entry_id)
        if not isinstance(claim, NewClaim):
            raise conflict_of(claim, _NAME)
        ids = EntryIds(entry_id)
        try:
            completion = await carry_out(ids)
        except BaseException:
            failure = orjson.dumps({"failed": ids.known})
            storing = self._claims.abandon(entry_id, failure)
            await finish_despite_cancel(write_outcome(entry_id, storing))
            raise
        repaired = [one for one in ids.known if one != completion.entry.entry_id]
        storing = self._claims.finish(entry_id, _encode(completion, repaired))
        await finish_despite_cancel(write_outcome(entry_id, storing))
        return completion

    def _cost_of(self, entry_ids: Iterable[str]) -> Decimal:
        entries = (self._store.entry(one) for one in entry_ids if one)
        return sum((one.cost_usd for one in entries if one is not None), Decimal(0))


def fingerprint(request: ChatRequest) -> str:
    """Return a hash of all that determines the reply.

    Labels, the cost limit, the key, and the record of what context was added are left out.

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


@cache
def _adapters() -> tuple[TypeAdapter[ChatResponse], TypeAdapter[LedgerEntry]]:
    # made when first needed: it takes milliseconds, and most programs use no keys
    return TypeAdapter(ChatResponse), TypeAdapter(LedgerEntry)


def _encode(completion: Completion, repaired: list[str]) -> bytes:
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
            "repaired": repaired,
        }
    )


def _decode(payload: bytes) -> tuple[Completion | None, list[str]]:
    """Return a kept reply, None if the run failed, and the ids of the other entries of its run."""
    try:
        kept: dict[str, Any] = orjson.loads(payload)
        if "failed" in kept:
            failed = kept["failed"]  # one id in what an earlier version wrote
            return None, [failed] if isinstance(failed, str) else list(map(str, failed))
        of_response, of_entry = _adapters()
        parts = tuple(_part(name, fields) for name, fields in kept["parts"])
        response = replace(of_response.validate_python(kept["response"]), parts=parts)
        entry = of_entry.validate_python(kept["entry"])
        repaired = list(map(str, kept.get("repaired", ())))
    except (ValueError, KeyError, TypeError, ValidationError):
        return None, []  # written by another version: asked again
    completion = Completion(response=response, route=_route_of(entry), entry=entry)
    return completion, repaired


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
