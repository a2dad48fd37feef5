"""Defines attempts, the one entry that a request leaves, and the ports that receive both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from devflow_core.attribution import Attribution
from devflow_core.routing import CheckOutcome
from devflow_core.usage import Usage

Outcome = Literal["succeeded", "failed", "cancelled"]
CostStatus = Literal["settled", "estimated", "observed", "void"]
"""The certainty of a cost.

`settled`: the provider's own figure. `estimated`: ours, to be reconciled. `observed`: ours for
good, from what was seen of the reply, since the provider cannot report more. `void`: nothing was or
can be billed (never sent, or refused before a token).
"""
CostDoubt = Literal["zero", "below_upstream", "above_reserve", "no_amount"]
"""Why a cost is doubted; only `above_reserve` may also concern an estimate of ours.

`zero`: nothing for tokens that have a price. `below_upstream`: less than the part that went to the
model's own provider. `above_reserve`: more than was reserved for all that may be billed.
`no_amount`: not an amount (NaN, below zero).
"""
OBSERVED, RESERVED = "observed", "reserved"
"""Sources of a cost that could not be confirmed: what was seen of the reply, or the reservation."""
UNCONFIRMED: frozenset[CostStatus] = frozenset({"estimated", "observed"})
"""The states of a cost that is our figure and not the provider's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShare:
    """A model that may answer in place of the requested one, and the most it may cost then."""

    model: str
    reserved_usd: Decimal | None = None
    """The most that it may cost; None if that is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStart:
    """The facts about an attempt that are known, and on disk, before it is sent."""

    attempt_id: str
    """Unique, so that a write whose outcome is unclear can be resolved."""
    entry_id: str
    number: int
    """The number of the attempt, from 1, over all retries and fallbacks of one request."""
    model: str
    started_at: datetime
    """When the attempt began, in UTC."""
    reserved_usd: Decimal | None
    """The worst case, held in every budget that applies; None if it is unknown."""
    task_type: str
    attribution: Attribution = field(default_factory=Attribution)
    key_id: str | None = None
    """The fingerprint of the provider key in use; never the key itself."""
    own_reserved_usd: Decimal | None = None
    """The worst case if `model` itself answers; None if it equals `reserved_usd`."""
    may_serve: tuple[ModelShare, ...] = ()
    """The models that may answer in its place."""
    may_be_any: bool = False
    """Whether the provider may let any model answer."""
    unpriced_reason: str = ""
    """Why the worst case is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one model that has ended."""

    attempt_id: str
    number: int
    model: str
    """The model that answered, or the one that was asked if none did."""
    started_at: datetime
    outcome: Outcome
    cost_status: CostStatus
    cost_usd: Decimal
    """The cost in USD; 0 if the status is `void`."""
    cost_text: str | None = None
    """The provider's own decimal text of a settled cost; None if the cost has other parts, too."""
    cost_source: str | None = None
    """The origin of the cost if it is not from the reply.

    One of `generation`, `total of` a date, `observed` and `reserved`.
    """
    cost_doubt: CostDoubt | None = None
    """Why the cost is doubted; None if it is not."""
    observed_usd: Decimal | None = None
    """For an estimate, the upper bound of what is known to have been used.

    It covers the input, what came of the reply, and fees; None if nothing is known.
    """
    usage: Usage = field(default_factory=Usage)
    is_usage_estimated: bool = False
    """Whether some of the counts are our estimates from the length of texts."""
    provider: str | None = None
    generation_id: str | None = None
    finish_reason: str | None = None
    error_code: str | None = None
    status: int | None = None
    """The status with which the upstream failed (HTTP's, or the code in the body); None if none."""
    ttft_s: float | None = None
    """Seconds from sending to the first event."""
    total_s: float = 0.0
    """Seconds from sending to the end."""
    key_id: str | None = None
    price_version: str | None = None
    reserved_usd: Decimal | None = None
    check: CheckOutcome | None = None
    """What became of the answer's checks; None if it was not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The record that one request leaves in the ledger, whatever its outcome."""

    entry_id: str
    started_at: datetime
    """When the request arrived, in UTC."""
    requested_model: str
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    """The attempts in the order made; empty if no model was asked."""
    task_type: str
    complexity: str
    attribution: Attribution = field(default_factory=Attribution)
    error_code: str | None = None
    ttft_s: float | None = None
    """Seconds from the request's arrival to the first event."""
    total_s: float = 0.0
    """Seconds from the request's arrival to its end."""
    overhead_s: float = 0.0
    """The part of `total_s` that passed before the first attempt was sent."""
    is_cache_hit: bool = False
    """Whether it was answered from the gateway's response cache, which costs nothing."""
    decision: str | None = None
    """The route as JSON, for `devflow explain ENTRY_ID`; holds no text of the prompt."""

    @property
    def final_attempt(self) -> Attempt | None:
        """The attempt that decided the outcome; None if no model was asked.

        It is the last, but for calls that a check made, and for those that failed after an answer
        that was given nevertheless.
        """
        for attempt in reversed(self.attempts):
            is_answer = self.outcome != "succeeded" or attempt.outcome == "succeeded"
            if attempt.check != "asked" and is_answer:
                return attempt
        return self.attempts[-1] if self.attempts else None

    @property
    def model(self) -> str:
        """The model that answered or failed last; the requested one if none was asked."""
        final = self.final_attempt
        return self.requested_model if final is None else final.model

    @property
    def usage(self) -> Usage:
        """The tokens of all attempts."""
        total = Usage()
        for attempt in self.attempts:
            total = total + attempt.usage
        return total

    @property
    def cost_usd(self) -> Decimal:
        """The cost of all attempts, including failed ones that were billed."""
        return sum((attempt.cost_usd for attempt in self.attempts), Decimal(0))

    @property
    def cost_status(self) -> CostStatus:
        """The least certain state of all attempts; `void` if all are void or there are none."""
        states = {attempt.cost_status for attempt in self.attempts}
        order: tuple[CostStatus, ...] = ("estimated", "observed", "settled")
        for one in order:
            if one in states:
                return one
        return "void"


class Ledger(Protocol):
    """Receives entries: one view, or several behind a `Tee`."""

    def record(self, entry: LedgerEntry, /) -> None:
        """Record one entry; takes microseconds and never raises for a well-formed entry."""
        ...


class Book(Protocol):
    """The durable side of the ledger, with the budgets: what it accepts survives a crash."""

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        """Write that an attempt is about to be sent, and reserve its worst case.

        One transaction, together with the ends of earlier attempts of the same request; it is
        durable when this returns.

        Raises:
            BudgetExceeded: a budget that applies has not enough left; nothing was written.
            UnknownPrice: a budget applies and the worst case is unknown.
            StoreError: it may not be durable, so nothing may be sent.
        """
        ...

    async def close(self, entry: LedgerEntry, /) -> None:
        """Write the entry and the end of every attempt durably, and settle the budgets.

        Idempotent by `entry_id`.

        Raises:
            StoreError: it could be written neither to the ledger nor to the emergency file.
        """
        ...


class Tee:
    """Feeds every entry to several ledgers, in order."""

    def __init__(self, *ledgers: Ledger) -> None:
        # looked up here, so that an object that is not a ledger fails at the start
        self._records = [ledger.record for ledger in ledgers]

    def record(self, entry: LedgerEntry, /) -> None:
        """Pass the entry on to each ledger."""
        for record in self._records:
            record(entry)


def replay(entries: Iterable[LedgerEntry], ledger: Ledger) -> None:
    """Feed past entries into a view, oldest first; this is how a tracker is rebuilt at startup."""
    for entry in entries:
        ledger.record(entry)
