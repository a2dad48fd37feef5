"""Represents accounts with credits, their keys with limits, and the counters of the free tier."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from devflow_sandbox.api_error import (
    ApiError,
    free_limit,
    key_limit,
    management_key_required,
    missing_key,
    unknown_key,
)
from devflow_sandbox.catalogue.billing import Charge

DAY_S = 86_400
# Limits of `:free` calls (documentation 2026-08).
FREE_PER_MINUTE = 20
FREE_PER_DAY = 50
FREE_PER_DAY_AFTER_PURCHASE = 1000
MIN_PURCHASE_USD = Decimal(10)
"""Credits that have to be bought, in all, for `FREE_PER_DAY_AFTER_PURCHASE`."""


def make_secret_key(*parts: object) -> str:
    """Return a key in OpenRouter's form, the same for the same parts."""
    return f"sk-or-v1-{hashlib.sha256(repr(parts).encode()).hexdigest()}"


@dataclass(slots=True, kw_only=True)
class KeySpend:
    """Amounts in USD by UTC day, from which day, week and month are summed."""

    total: Decimal = Decimal(0)
    by_day: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """The amounts by number of the day, counted from 1970-01-01."""

    def add(self, usd: Decimal, now_s: float) -> None:
        """Add an amount in USD to the day of `now_s` (Unix time)."""
        self.total += usd
        self.by_day[int(now_s // DAY_S)] += usd

    def spent_in_period(self, period: str | None, now_s: float) -> Decimal:
        """Return the amount in USD of this day, week (from Monday) or month; of all time for None.

        Args:
            period: `daily`, `weekly`, `monthly` or None.
            now_s: Unix time.
        """
        if period is None:
            return self.total
        first = _first_day(period, now_s)
        return sum((usd for day, usd in self.by_day.items() if day >= first), Decimal(0))


def _first_day(period: str, now_s: float) -> int:
    now = datetime.fromtimestamp(now_s, UTC)
    back = {"daily": 0, "weekly": now.weekday(), "monthly": now.day - 1}[period]
    return int((now - timedelta(days=back)).timestamp() // DAY_S)


@dataclass(slots=True, kw_only=True)
class Key:
    """An API key: who pays, what it may do and spend, and what it has spent; times are Unix."""

    secret: str
    account: Account
    name: str
    created_s: float
    is_management: bool = False
    """Whether it may call `/keys`, `/credits` and `/activity`, and nothing that costs money."""
    limit_usd: Decimal | None = None
    """The key's own limit per `limit_reset`; None if only the credits limit it."""
    limit_reset: str | None = None
    """`daily`, `weekly` or `monthly`; None if the limit is never renewed."""
    include_byok_in_limit: bool = False
    """Whether `byok_usage` counts against the limit as well."""
    disabled: bool = False
    expires_s: float | None = None
    """When the key expires, in Unix time; None: never."""
    updated_s: float | None = None
    last_used_s: float | None = None
    usage: KeySpend = field(default_factory=KeySpend)
    """The amounts taken from the credits."""
    byok_usage: KeySpend = field(default_factory=KeySpend)
    """The amounts that providers charged to the account's own keys with them."""

    @property
    def hash(self) -> str:
        """The id that `/keys` uses for the key."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The secret, shortened for display."""
        return f"{self.secret[:12]}...{self.secret[-3:]}"

    def remaining_usd(self, now_s: float) -> Decimal | None:
        """Return what the key's own limit leaves, at least 0; None without a limit."""
        if self.limit_usd is None:
            return None
        spent = self.usage.spent_in_period(self.limit_reset, now_s)
        if self.include_byok_in_limit:
            spent += self.byok_usage.spent_in_period(self.limit_reset, now_s)
        return max(Decimal(0), self.limit_usd - spent)

    def pay(self, charge: Charge, now_s: float) -> None:
        """Take a charge from the credits, and count it against the key's own limit.

        Nothing is checked: a balance may become negative.
        """
        self.account.used_usd += charge.total
        self.usage.add(charge.total, now_s)
        if charge.byok_fee is not None:
            self.account.byok_used_usd += charge.inference
            self.byok_usage.add(charge.inference, now_s)


@dataclass(slots=True, kw_only=True)
class Account:
    """An account that pays for calls."""

    user_id: str
    credits_usd: Decimal
    """All credits ever bought, in USD."""
    used_usd: Decimal = Decimal(0)
    in_flight_usd: Decimal = Decimal(0)
    """The worst case of the calls in progress, in USD."""
    byok: frozenset[str] = frozenset()
    """The slugs of the providers for which the account has its own keys."""
    byok_used_usd: Decimal = Decimal(0)
    is_zdr: bool = False
    """Whether only providers with zero data retention are allowed."""
    free_by_day: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """`:free` calls by number of the day, counted from 1970-01-01."""
    free_by_minute: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def balance_usd(self) -> Decimal:
        """The credits that are left; amounts in flight are not subtracted."""
        return self.credits_usd - self.used_usd

    @property
    def free_per_day(self) -> int:
        """The number of `:free` calls allowed per day."""
        bought = self.credits_usd >= MIN_PURCHASE_USD
        return FREE_PER_DAY_AFTER_PURCHASE if bought else FREE_PER_DAY

    def count_free_call(self, now_s: float) -> None:
        """Count a `:free` call; refused calls count too.

        Raises:
            ApiError: 429, if the limit of the day or the minute is exceeded.
        """
        day, minute = int(now_s // DAY_S), int(now_s // 60)
        # counted before the check: refused calls count too
        self.free_by_day[day] += 1
        self.free_by_minute[minute] += 1
        if self.free_by_day[day] > self.free_per_day:
            raise free_limit(self.free_per_day, (day + 1) * DAY_S * 1000, daily=True)
        if self.free_by_minute[minute] > FREE_PER_MINUTE:
            raise free_limit(FREE_PER_MINUTE, (minute + 1) * 60_000, daily=False)


@dataclass(slots=True)
class Accounts:
    """All keys that this sandbox knows."""

    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    """The keys, by their secret."""
    account_for_unknown_keys: Account | None = None
    """The account that unknown keys are added to; None: they are refused."""

    def add(self, key: Key) -> Key:
        """Register a key, and return it."""
        self.keys[key.secret] = key
        return key

    def get_by_hash(self, key_hash: str) -> Key:
        """Return a key by its hash.

        Raises:
            ApiError: 404, if it is unknown.
        """
        for key in self.keys.values():
            if key.hash == key_hash:
                return key
        raise ApiError(404, "API key not found")

    def authenticate(self, headers: dict[str, str], now_s: float) -> Key:
        """Return the key of a request, and note its use.

        Raises:
            ApiError: 401, if it is missing, unknown, disabled or expired.
        """
        key = self._find_key(headers, now_s)
        # OpenRouter answers both as if the key were unknown
        if key.disabled or (key.expires_s is not None and now_s >= key.expires_s):
            raise unknown_key()
        key.last_used_s = now_s
        return key

    def authorise_spending(self, headers: dict[str, str], now_s: float) -> Key:
        """Return the key of a request that costs money.

        Raises:
            ApiError: 401, see `authenticate`; 403 for a management key, or if the key's own limit
                is used up.
        """
        key = self.authenticate(headers, now_s)
        if key.is_management:
            raise ApiError(403, "Management keys cannot be used for inference")
        if key.limit_usd is not None and key.remaining_usd(now_s) == 0:
            raise key_limit(key.limit_reset or "total")
        return key

    def authorise_management(self, headers: dict[str, str], now_s: float) -> Key:
        """Return the key of a management request.

        Raises:
            ApiError: 401, see `authenticate`; 403 for an inference key.
        """
        key = self.authenticate(headers, now_s)
        if not key.is_management:
            raise management_key_required()
        return key

    def _find_key(self, headers: dict[str, str], now_s: float) -> Key:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise missing_key()
        key = self.keys.get(secret)
        if key is None and self.account_for_unknown_keys is not None:
            account = self.account_for_unknown_keys
            key = self.add(Key(secret=secret, account=account, name="any", created_s=now_s))
        if key is None:
            raise unknown_key()
        return key
