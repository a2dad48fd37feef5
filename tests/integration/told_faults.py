"""The table of every fault that a client can be told about, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devflow_core import errors
from devflow_core.errors import DevFlowError
from devflow_openrouter.testing import (
    SSE_HEAD,
    chunked_body,
    error_body,
    http_reply,
    streamed_reply,
)
from integration.ledger_faults import Undo, delete, make_read_only, zero
from integration.upstream_door import MODEL, OTHER, Door, Script, failed

EXHAUSTED = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
PATIENCE_S = 60.0
Preparation = Callable[[Door], AbstractAsyncContextManager[object]]


def at_once(_: Door) -> AbstractAsyncContextManager[object]:
    """Prepare nothing."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault and what a client must be told about it."""

    kind: type[DevFlowError]
    """The exception in Python; of classes with the same code, the public one."""
    script: Script
    """What the provider does."""
    status: int
    code: str
    should_retry: str | None = "false"
    """The value of `x-should-retry`; None if absent, which leaves it to the client."""
    retry_after: bool = False
    asked: int | None = 1
    """How often the provider is called; None if that depends on timing."""
    tries: int = 1
    """How many requests it takes until one meets the fault."""
    prepare: Preparation = at_once
    """Sets up the condition during the request."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    by_wire: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Additional request fields that differ by dialect."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    status_by_wire: dict[str, int] = field(default_factory=dict[str, int])
    """The statuses of dialects whose clients would misunderstand `status`."""

    def status_in(self, wire: str) -> int:
        """Return the status that a client of this dialect must get."""
        return self.status_by_wire.get(wire, self.status)

    def request(self, wire: str) -> dict[str, Any]:
        """Return the fields of the request that meets the fault."""
        return {**self.fields, **self.by_wire.get(wire, {})}


def _fault(kind: type[DevFlowError], script: Script, status: int, code: str, **more: Any) -> Fault:
    return Fault(kind=kind, script=script, status=status, code=code, **more)


def _said(status: int, message: str = "No.", **fields: Any) -> Script:
    headers = fields.pop("headers", {})
    return failed(error_body(status, message, **fields), status, **headers)


OWN = {"headers": {"x-openrouter-key": "sk-or-v1-of-the-caller"}}
SOON = {"retry_after": "0"}
LATER = {"retry_after": "45"}
SHORT = {"total_timeout_s": 20}

_TOOLS: dict[str, dict[str, Any]] = {
    "openai_chat": {"tools": [{"type": "function", "function": {"name": "look"}}]},
    "anthropic_messages": {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
    "openai_responses": {"tools": [{"type": "function", "name": "look", "parameters": {}}]},
}
_PICTURES: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
    },
    "anthropic_messages": {
        "messages": [{"role": "user", "content": [
            {"type": "image",
             "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}],
    },
    "openai_responses": {
        "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}],
    },
}  # fmt: skip


@asynccontextmanager
async def _occupied(door: Door) -> AsyncGenerator[None]:
    """Occupy the only slot for a call."""
    first = asyncio.create_task(door.send("openai_chat", stream=False))
    async with asyncio.timeout(PATIENCE_S):
        while not door.upstream.bodies:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    yield
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first


@asynccontextmanager
async def _key_in_use(door: Door) -> AsyncGenerator[None]:
    """Use the idempotency key for another request, which is answered."""
    await door.send("openai_chat", stream=False, headers={"idempotency-key": "k"})
    yield


def _ledger_under(strike: Callable[[Path], Undo], *, said: str) -> Preparation:
    """Return a preparation: a fault of the ledger, which the server reports before the request."""

    @asynccontextmanager
    async def prepare(door: Door) -> AsyncGenerator[None]:
        undo = strike(Path(door.settings.data_dir))
        async with asyncio.timeout(PATIENCE_S):
            while said not in (await door.client.get("/readyz")).text:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        try:
            yield
        finally:
            undo()

    return prepare


_ledger_read_only = _ledger_under(make_read_only, said="read_only")
_ledger_damaged = _ledger_under(zero(100), said="damaged")
_ledger_gone = _ledger_under(delete("ledger.db"), said="is missing, although")

FAULTS: dict[str, Fault] = {
    "our key is refused": _fault(
        errors.KeysExhausted, _said(401, "User not found."), 503, EXHAUSTED
    ),
    "our account is spent": _fault(
        errors.KeysExhausted, _said(402, "Insufficient credits.",
        limit_source="openrouter_credits"), 402, EXHAUSTED
    ),
    "our key's limit is reached": _fault(
        errors.KeysExhausted, _said(403, "Key limit exceeded (total)."), 402, EXHAUSTED
    ),
    "our account, said under 429": _fault(
        errors.KeysExhausted, _said(429, "Insufficient credits left."), 402, EXHAUSTED
    ),
    "our account, said under 400": _fault(
        errors.KeysExhausted, _said(400, "Payment required."), 402, EXHAUSTED
    ),
    "our account, said under 503": _fault(
        errors.KeysExhausted, _said(503, "Insufficient funds."), 402, EXHAUSTED
    ),
    "our key is throttled": _fault(
        errors.RateLimited, _said(429, "Slow down.", headers=LATER), 429, "rate_limited",
        should_retry=None, retry_after=True, settings=SHORT,
    ),
    "their key is refused": _fault(
        errors.KeyRefused, _said(401, "User not found."), 401, "upstream_key_refused", fields=OWN
    ),
    "their account is spent": _fault(
        errors.PaymentRequired, _said(402, "Insufficient credits.",
        limit_source="openrouter_credits"), 402,
        "upstream_payment_required", fields=OWN,
    ),
    "their key's limit is reached": _fault(
        errors.KeyRefused, _said(403, "Key limit exceeded (total)."), 402, "upstream_key_refused",
        fields=OWN
    ),
    "moderation": _fault(
        errors.Refused, _said(403, "Flagged."), 403, "upstream_refused",
        status_by_wire={"anthropic_messages": 400},
    ),
    "the request is wrong": _fault(
        errors.UpstreamRejected, _said(400, "Bad field."), 400, "upstream_rejected"
    ),
    "a precondition": _fault(
        errors.UpstreamRejected, _said(412, "Not so."), 412, "upstream_rejected"
    ),
    "too large there": _fault(
        errors.UpstreamRejected, _said(413, "Too large."), 413, "upstream_rejected"
    ),
    "not to be processed": _fault(
        errors.UpstreamRejected, _said(422, "Not so."), 422, "upstream_rejected"
    ),
    "too long there": _fault(
        errors.ContextTooLong, _said(400, "This endpoint's maximum context length is 9 tokens."),
        400,
        "context_length_exceeded",
    ),
    "no endpoint": _fault(
        errors.ModelUnavailable, _said(404, "No endpoints found."), 404,
        "upstream_model_unavailable"
    ),
    "throttled until given up": _fault(
        errors.RateLimited, _said(429, "Slow down.", headers=SOON), 429, "rate_limited",
        retry_after=True, asked=3,
        settings={"fallback_models": ()},
    ),
    "overloaded, and says when": _fault(
        errors.Overloaded, _said(503, "Busy.", headers=SOON), 503, "upstream_overloaded",
        retry_after=True, asked=3
    ),
    "fails": _fault(
        errors.ProviderUnavailable, _said(500, "Oops."), 502, "upstream_unavailable", asked=3
    ),
    "is nothing": _fault(
        errors.ProviderUnavailable, _said(502, "Bad."), 502, "upstream_unavailable", asked=3
    ),
    "closes without a word": _fault(
        errors.PossiblyAccepted, ("close",), 502, "upstream_disconnected", asked=2
    ),
    "is no JSON": _fault(
        errors.ProtocolError, (http_reply(b"<html>hello</html>", 200, "text/html"),), 502,
        "upstream_protocol_error",
        asked=2,
    ),
    "an unknown model": _fault(
        errors.UnknownModel, _said(500), 404, "model_not_found", asked=0,
        fields={"model": "nope/nothing"}
    ),
    "a request that is none": _fault(
        errors.InvalidRequest, _said(500), 400, "invalid_request", asked=0, fields={"model": 7}
    ),
    "over its own ceiling": _fault(
        errors.BudgetExceeded, _said(500), 402, "budget_exceeded", asked=0,
        fields={"headers": {"x-devflow-max-cost-usd": "0.000000001"}},
    ),
    "too large for us": _fault(
        errors.PayloadTooLarge, _said(500), 413, "payload_too_large", asked=0,
        fields={"user": "u" * 5000},
        settings={"max_body_bytes": 4096},
    ),
    "no key at all": _fault(
        errors.ConfigurationError, _said(500), 500, "configuration_error", asked=0,
        settings={"api_key": None}
    ),
    "the day's allowance of the free": _fault(
        errors.DailyQuotaExceeded, _said(429, "No.", limit_source="openrouter_free_tier_daily"),
        429, "rate_limited",
    ),
    "a limit that was met of late": _fault(
        errors.StillLimited, _said(429, "Slow down.", headers=LATER), 429, "still_limited",
        should_retry=None, retry_after=True, settings=SHORT, tries=2,
    ),
    "takes too long": _fault(
        errors.UpstreamTimeout, (30.0,), 504, "upstream_timeout", asked=2,
        settings={"first_token_timeout_s": 0.5},
    ),
    "says that it took too long": _fault(
        errors.UpstreamTimeout, _said(504, "Too slow."), 504, "upstream_timeout", asked=2
    ),
    "is not there": _fault(
        errors.NotSent, _said(500), 502, "upstream_unreachable", asked=0,
        settings={"base_url": "http://127.0.0.1:9/api/v1"},
    ),
    "begins, and ends": _fault(
        errors.Incomplete, (SSE_HEAD + chunked_body(b": still here\n\n"),), 502,
        "upstream_incomplete", asked=2,
    ),
    "says far too much": _fault(
        errors.ReplyTooLarge, failed(error_body(500), 500, x_long="x" * 70_000), 502,
        "upstream_reply_too_large",
    ),
    "has been failing": _fault(
        errors.CircuitOpen, _said(500), 503, "circuit_open", should_retry=None, retry_after=True,
        asked=None, tries=200, settings={"max_retries": 1},
    ),
    "all models fail": _fault(
        errors.AllCandidatesFailed, _said(500), 502, "all_candidates_failed", asked=3,
        settings={"fallbacks": {MODEL: (OTHER,)}},
    ),
    "cannot see": _fault(
        errors.InvalidRequest, _said(500), 400, "invalid_request", asked=0,
        fields={"model": "z-ai/glm-5"}, by_wire=_PICTURES,
    ),
    "cannot call tools": _fault(
        errors.NoCandidate, _said(500), 404, "no_candidate", asked=0,
        fields={"model": "perceptron/perceptron-mk1"}, by_wire=_TOOLS,
    ),
    "a price that nobody knows": _fault(
        errors.UnknownPrice, _said(500), 402, "unknown_price", asked=0,
        fields={"service_tier": "new", "headers": {"x-devflow-max-cost-usd": "5"}},
    ),
    "a session that is none": _fault(
        errors.SessionError, _said(500), 400, "session_error", asked=0,
        fields={"headers": {"x-devflow-session": "../x"}},
    ),
    "a client without a key": _fault(
        errors.Unauthorized, _said(500), 401, "unauthorized", asked=0,
        settings={"require_key": True},
    ),
    "another site's page": _fault(
        errors.Forbidden, _said(500), 403, "forbidden", asked=0,
        fields={"headers": {"origin": "https://elsewhere.example"}},
    ),
    "a path that is none": _fault(
        errors.NotFound, _said(500), 404, "not_found", asked=0, fields={"below": "/nothing"}
    ),
    "a key that stands for another request": _fault(
        errors.Conflict, (streamed_reply(),), 422, "idempotency_conflict",
        prepare=_key_in_use, fields={"user": "another", "headers": {"idempotency-key": "k"}},
    ),
    "too many wait": _fault(
        errors.QueueFull, (60.0,), 503, "queue_full", should_retry=None, retry_after=True,
        prepare=_occupied, settings={"max_concurrency": 1, "max_queue": 0},
    ),
    "the ledger is read-only": _fault(
        errors.StoreError, _said(500), 503, "store_unavailable", should_retry=None,
        retry_after=True, asked=0, prepare=_ledger_read_only,
    ),
    "the ledger is damaged": _fault(
        errors.LedgerCorrupt, _said(500), 503, "ledger_corrupt", asked=0, prepare=_ledger_damaged
    ),
    "the ledger has gone": _fault(
        errors.LedgerCorrupt, _said(500), 503, "ledger_corrupt", asked=0, prepare=_ledger_gone
    ),
}  # fmt: skip

ENCODED: dict[type[DevFlowError], DevFlowError] = {
    # needs a claim that another process has held for ten minutes; that of one that was killed is
    # tested with real processes
    errors.Conflict: errors.Conflict("Still being carried out.", retry_after_s=10.0),
    # no descriptor left: the test itself would have none (tested in a process of its own)
    errors.MachineExhausted: errors.MachineExhausted("No descriptor left.", retry_after_s=1.0),
    # replies are judged by their schema in Python alone; at the door they pass as they are
    errors.StructuredOutputInvalid: errors.StructuredOutputInvalid("No.", reply="", violations=()),
}
"""Errors that no request in a test can cause, in the form in which they would be told."""
