"""Records what every call really cost, however it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.catalogue.billing import (
    NO_CHARGE,
    NO_TOKENS,
    BilledTokens,
    Charge,
    decimal_text,
)
from devflow_sandbox.extras.use import Extra
from devflow_sandbox.message import JsonObject
from devflow_sandbox.replies.generation import Generation

Outcome = Literal["running", "completed", "cancelled", "cut", "failed", "refused"]
"""`cancelled`: the client disconnected; `cut`: a fault ended the reply; `failed`: the provider
returned an error; `refused`: no provider was called.
"""


@dataclass(slots=True, kw_only=True)
class BilledCall:
    """One call in the billing book."""

    number: int
    """The number of the call, from 1, in order of arrival."""
    started_s: float
    """The start of the call, in Unix time."""
    path: str
    model: str | None
    """The requested model; None if the request named none, or could not be read."""
    generation_id: str | None = None
    served_model: str | None = None
    """The id of the catalogue row that was billed."""
    provider: str | None = None
    """The provider's name; None if none was called."""
    status: int = 200
    outcome: Outcome = "running"
    tokens: BilledTokens = NO_TOKENS
    charge: Charge = NO_CHARGE
    key: Key | None = None
    generation: Generation | None = None
    ended_s: float | None = None
    streamed: bool = False
    user_agent: str | None = None
    referer: str | None = None
    cached_from: str | None = None
    """The call whose reply was repeated from the response cache."""
    fault: str | None = None
    """The id of the fault that was applied."""
    extras: Sequence[Extra] = ()
    """Billed extras that ran with the reply, such as searches."""

    @property
    def cost_usd(self) -> Decimal:
        """The amount taken from the credits, in USD."""
        return self.charge.total

    def _byok_text(self) -> str | None:
        """Return the amount that the provider charges to the user's own key; None without one."""
        return None if self.charge.byok_fee is None else decimal_text(self.charge.inference)

    def to_row(self) -> JsonObject:
        """Return the call as a row of the bill; amounts are decimal text in USD."""
        return {
            "number": self.number,
            "generation_id": self.generation_id,
            "model": self.served_model or self.model,
            "requested": self.model,
            "provider": self.provider,
            "path": self.path,
            "status": self.status,
            "outcome": self.outcome,
            "cost_usd": decimal_text(self.cost_usd),
            "byok_usd": self._byok_text(),
            "prompt_tokens": self.tokens.prompt,
            "cached_tokens": self.tokens.cached,
            "cache_write_tokens": self.tokens.written,
            "completion_tokens": self.tokens.completion,
            "reasoning_tokens": self.tokens.reasoning,
            "image_tokens": self.tokens.image_out,
            "audio_tokens": self.tokens.audio_out,
            "service_tier": "default" if self.generation is None else self.generation.tier,
            "extras": [one.to_row() for one in self.extras],
            "key": None if self.key is None else self.key.label,
            "fault": self.fault,
        }


@dataclass(slots=True)
class BillingBook:
    """All calls since the start, in order of arrival."""

    calls: list[BilledCall] = field(default_factory=list[BilledCall])
    _by_id: dict[str, BilledCall] = field(default_factory=dict[str, BilledCall])

    def open_call(self, now_s: float, path: str, model: str | None) -> BilledCall:
        """Add a call that is running, and return it; `model` is the requested one, if known."""
        call = BilledCall(number=len(self.calls) + 1, started_s=now_s, path=path, model=model)
        self.calls.append(call)
        return call

    def assign_id(self, call: BilledCall, generation_id: str) -> None:
        """Give the call its generation id, by which it can be looked up."""
        call.generation_id = generation_id
        self._by_id[generation_id] = call

    def find(self, generation_id: str) -> BilledCall | None:
        """Return a call by its generation id; None if there is none."""
        return self._by_id.get(generation_id)

    def make_bill(self, *, since: int = 0) -> JsonObject:
        """Return the body of `GET /sandbox/bill`.

        It has the calls after number `since`, with the total and the running calls of them all.
        """
        total = sum((call.cost_usd for call in self.calls), Decimal(0))
        return {
            "calls": [call.to_row() for call in self.calls[since:]],
            "total_usd": decimal_text(total),
            "running": sum(1 for call in self.calls if call.outcome == "running"),
        }
