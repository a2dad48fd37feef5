"""What happened: attempts, the one entry that a request leaves, and who takes it in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from devflow_core.attribution import Attribution
from devflow_core.usage import Usage

Outcome = Literal["succeeded", "failed", "cancelled"]
CostStatus = Literal["settled", "estimated", "observed", "void"]
"""`settled`: the provider's own figure. `estimated`: ours, to be reconciled. `observed`: ours for
good, by what was seen of the reply, since nobody can tell more. `void`: nothing was or can be
billed (never sent, or refused before a token)."""
CostDoubt = Literal["zero", "below_upstream", "above_reserve", "no_amount"]
"""Why a cost that the provider told cannot be: nothing for tokens that have a price, less than the
part of it that went to the model's own provider, more than was held for all that may be billed, or
no amount at all (NaN, below zero)."""
OBSERVED, RESERVED = "observed", "reserved"
"""Sources of a cost that nobody could confirm: what was seen of the reply, or what was held."""
UNCONFIRMED: frozenset[CostStatus] = frozenset({"estimated", "observed"})
"""Of a cost that is ours and not the provider's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShare:
    """A model that may answer in place of the one that is asked, and the most it may cost then."""

    model: str
    reserved_usd: Decimal | None = None
    """None when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStart:
    """What is known before bytes leave; it is on disk by then."""

    attempt_id: str
    """Unique; a write that may or may not have happened is resolved by it."""
    entry_id: str
    number: int
    """From 1, over retries and fallbacks of one request."""
    model: str
    started_at: datetime
    """UTC."""
    reserved_usd: Decimal | None
    """The worst case, held in every budget that applies; None when it is not known."""
    task_type: str
    attribution: Attribution = field(default_factory=Attribution)
    key_id: str | None = None
    """Fingerprint of the provider key in use; never the key."""
    own_reserved_usd: Decimal | None = None
    """The worst case where `model` itself answers; None where `reserved_usd` says it."""
    may_serve: tuple[ModelShare, ...] = ()
    """Who may answer in its place."""
    may_be_any: bool = False
    """Whether anybody may."""
    unpriced_reason: str = ""
    """Why the worst case is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one model, ended."""

    attempt_id: str
    number: int
    model: str
    """Who answered; who was asked, where nobody did."""
    started_at: datetime
    outcome: Outcome
    cost_status: CostStatus
    cost_usd: Decimal
    """0 when void."""
    cost_text: str | None = None
    """The provider's own decimal text when settled."""
    cost_source: str | None = None
    """Where a cost is from that did not come with the reply: `generation`, `total of 2026-11-30`,
    `observed`, `reserved`."""
    cost_doubt: CostDoubt | None = None
    """Why what the provider told cannot be."""
    observed_usd: Decimal | None = None
    """Of an estimate: what is known to have been used, on the upper side; the input, what came of
    the reply, and fees. None where nothing is known."""
    usage: Usage = field(default_factory=Usage)
    is_usage_estimated: bool = False
    """Whether some of the counts are ours, from the length of texts."""
    provider: str | None = None
    generation_id: str | None = None
    finish_reason: str | None = None
    error_code: str | None = None
    status: int | None = None
    """HTTP status of a refusal."""
    ttft_s: float | None = None
    """From sending to the first event."""
    total_s: float = 0.0
    key_id: str | None = None
    price_version: str | None = None
    reserved_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What one request left behind, whatever happened to it."""

    entry_id: str
    started_at: datetime
    """UTC."""
    requested_model: str
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    """In the order made; empty when nobody was asked."""
    task_type: str
    complexity: str
    attribution: Attribution = field(default_factory=Attribution)
    error_code: str | None = None
    ttft_s: float | None = None
    """From the request's arrival to the first event."""
    total_s: float = 0.0
    overhead_s: float = 0.0
    """Of `total_s`, what was spent before the first attempt was sent."""
    is_cache_hit: bool = False
    """Answered from the gateway's own response cache; costs nothing."""
    decision: str | None = None
    """The route as JSON, for `devflow explain ENTRY_ID`; holds no text of the prompt."""

    @property
    def final_attempt(self) -> Attempt | None:
        """The attempt that decided the outcome: the last."""
        return self.attempts[-1] if self.attempts else None

    @property
    def model(self) -> str:
        """The model that answered or failed last; the requested one when nobody was asked."""
        return self.attempts[-1].model if self.attempts else self.requested_model

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts."""
        total = Usage()
        for attempt in self.attempts:
            total = total + attempt.usage
        return total

    @property
    def cost_usd(self) -> Decimal:
        """Cost of all attempts: a failed one that was billed is in it."""
        return sum((attempt.cost_usd for attempt in self.attempts), Decimal(0))

    @property
    def cost_status(self) -> CostStatus:
        """The least sure of all attempts' states; `void` when all are."""
        states = {attempt.cost_status for attempt in self.attempts}
        order: tuple[CostStatus, ...] = ("estimated", "observed", "settled")
        for one in order:
            if one in states:
                return one
        return "void"


class Ledger(Protocol):
    """Something that takes entries in: a view, or several behind a `Tee`."""

    def record(self, entry: LedgerEntry, /) -> None:
        """Take one entry in. Synchronous, microseconds, never raises for a well-formed entry."""
        ...


class Book(Protocol):
    """The durable side of the ledger, with the budgets: what it has accepted survives."""

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        """Write that an attempt is about to be sent, and reserve its worst case.

        One transaction with the ends of earlier attempts of the same request. On return it is
        durable.

        Raises:
            BudgetExceeded: a budget that applies has not enough left; nothing was written.
            UnknownPrice: a budget applies and the worst case is not known.
            StoreError: it is not known to be durable, so nothing may be sent.
        """
        ...

    async def close(self, entry: LedgerEntry, /) -> None:
        """Write the entry and the end of every attempt, and settle the budgets; then durable.

        Idempotent by `entry_id`.

        Raises:
            StoreError: it could not be written, also not to the emergency file.
        """
        ...


class Tee:
    """Feeds every entry to several ledgers, in order."""

    def __init__(self, *ledgers: Ledger) -> None:
        # looked up here, so that an object that is no ledger fails at the start
        self._records = [ledger.record for ledger in ledgers]

    def record(self, entry: LedgerEntry, /) -> None:
        """Pass the entry on to each."""
        for record in self._records:
            record(entry)


def replay(entries: Iterable[LedgerEntry], ledger: Ledger) -> None:
    """Feed past entries into a view, oldest first: how a tracker is rebuilt at the start."""
    for entry in entries:
        ledger.record(entry)
