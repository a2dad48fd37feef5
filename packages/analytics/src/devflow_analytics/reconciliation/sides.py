"""The two sides that are compared: our ledger and the provider's account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.usage import Usage

UsagePeriod = Literal["daily", "weekly", "monthly"]


class ReconciliationStore(Protocol):
    """Our side: a store."""

    def entries(self, since: datetime, until: datetime, /) -> Iterable[LedgerEntry]:
        """Entries whose request arrived in a time, with corrections in them."""
        ...

    def unconfirmed(self, limit: int, /) -> Sequence[tuple[LedgerEntry, Attempt]]:
        """Attempts with an estimated cost, oldest first."""
        ...

    def latest_start(self) -> datetime | None:
        """When the latest attempt began; None where there is none."""
        ...

    def under_way_since(self) -> datetime | None:
        """When the oldest of the attempts began that have not ended; None where all have."""
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
        """Give an attempt its final cost; the same figure again changes nothing."""
        ...


class ProviderAccount(Protocol):
    """The provider's side, for all keys of this gateway together."""

    def has_key(self, key_id: str | None, /) -> bool:
        """Whether calls with this key are in the figures below."""
        ...

    async def fetch_generation(
        self, generation_id: str, key_id: str | None, /
    ) -> Mapping[str, Any] | None:
        """What is booked for a call; None while it is not."""
        ...

    async def fetch_day_usd(self, day: date, /) -> Decimal | None:
        """What a completed day (UTC) has cost; None where that may not be asked."""
        ...

    async def fetch_usage_usd(self, period: UsagePeriod, /) -> Decimal:
        """What the keys have cost since the day, week (Monday) or month began, in UTC."""
        ...
