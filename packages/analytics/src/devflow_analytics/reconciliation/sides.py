"""Defines the two sides of a reconciliation: our ledger and the provider's account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.usage import Usage

UsagePeriod = Literal["daily", "weekly", "monthly"]


class ReconciliationStore(Protocol):
    """Our side: the ledger's store."""

    def entries(self, since: datetime, until: datetime, /) -> Iterable[LedgerEntry]:
        """Return the entries whose request arrived in a period, corrections applied."""
        ...

    def unconfirmed(self, limit: int, /) -> Sequence[tuple[LedgerEntry, Attempt]]:
        """Return at most `limit` attempts of estimated cost, each with its entry, oldest first."""
        ...

    def latest_start(self) -> datetime | None:
        """Return when the latest attempt began, in UTC; None without any."""
        ...

    def under_way_since(self) -> datetime | None:
        """Return when the oldest attempt still running began, in UTC; None if all have ended."""
        ...

    async def confirm(
        self,
        attempt_id: str,
        cost_usd: Decimal,
        text: str | None,
        /,
        *,
        usage: Usage | None = None,
        provider: str | None = None,
        source: str,
    ) -> None:
        """Set the final cost of an attempt; repeating the same figure changes nothing.

        Args:
            attempt_id: the attempt.
            cost_usd: its cost.
            text: the provider's own decimal text for it; None if it gave none for the whole cost.
            usage: the confirmed counts; None keeps the recorded ones.
            provider: the provider that answered; None if the provider does not say.
            source: the evidence: `generation`, `total of …`, `OBSERVED` or `RESERVED`.
        """
        ...


class ProviderAccount(Protocol):
    """The provider's side, for all keys of this gateway together."""

    def has_key(self, key_id: str | None, /) -> bool:
        """Return whether this account's figures include the calls made with a key.

        An unknown key (None) counts as included if the account has any key.
        """
        ...

    async def fetch_generation(
        self, generation_id: str, key_id: str | None, /
    ) -> Mapping[str, Any] | None:
        """Return the fields of `GET /generation` for a call; None if it is not booked yet.

        Raises:
            DevFlowError: the account cannot be read.
        """
        ...

    async def fetch_day_usd(self, day: date, /) -> Decimal | None:
        """Return the cost of a completed day (UTC); None if the keys may not ask for it.

        Raises:
            UpstreamError: the account cannot be read.
        """
        ...

    async def fetch_usage_usd(self, period: UsagePeriod, /) -> Decimal:
        """Return the cost since the day, week (Monday) or month began, in UTC.

        Raises:
            UpstreamError: the account cannot be read.
        """
        ...
