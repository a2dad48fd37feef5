"""The sandbox's own books: what every call truly cost, whatever became of it."""

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
"""`cancelled`: the client left; `cut`: a fault ended the reply; `failed`: a provider's error;
`refused`: no provider was asked."""


@dataclass(slots=True, kw_only=True)
class BilledCall:
    """One call as it stands in the books."""

    number: int
    started_s: float
    path: str
    model: str | None
    """As it was asked for."""
    generation_id: str | None = None
    served_model: str | None = None
    """The catalogue row that was billed."""
    provider: str | None = None
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
    """The call whose reply was given again out of the response cache."""
    fault: str | None = None
    """The id of the fault that was applied to it."""
    extras: Sequence[Extra] = ()
    """What ran beside the reply, as far as it is billed."""

    @property
    def cost_usd(self) -> Decimal:
        """What was taken from the credits."""
        return self.charge.total

    def _byok_text(self) -> str | None:
        """What the provider charges the user's own key, beside `cost_usd`."""
        return None if self.charge.byok_fee is None else decimal_text(self.charge.inference)

    def to_row(self) -> JsonObject:
        """One row of the bill."""
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
    """All calls since the start, in the order in which they came."""

    calls: list[BilledCall] = field(default_factory=list[BilledCall])
    _by_id: dict[str, BilledCall] = field(default_factory=dict[str, BilledCall])

    def open_call(self, now_s: float, path: str, model: str | None) -> BilledCall:
        """Add the row of a new call."""
        call = BilledCall(number=len(self.calls) + 1, started_s=now_s, path=path, model=model)
        self.calls.append(call)
        return call

    def assign_id(self, call: BilledCall, generation_id: str) -> None:
        """From now on the call can be looked up by this id."""
        call.generation_id = generation_id
        self._by_id[generation_id] = call

    def find(self, generation_id: str) -> BilledCall | None:
        """A call by its generation id."""
        return self._by_id.get(generation_id)

    def make_bill(self, *, since: int = 0) -> JsonObject:
        """`GET /sandbox/bill`: the calls after number `since`, and the total of all."""
        total = sum((call.cost_usd for call in self.calls), Decimal(0))
        return {
            "calls": [call.to_row() for call in self.calls[since:]],
            "total_usd": decimal_text(total),
            "running": sum(1 for call in self.calls if call.outcome == "running"),
        }
