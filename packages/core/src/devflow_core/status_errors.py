"""Maps a provider's HTTP status to an error, for replies whose body does not say more."""

from __future__ import annotations

from devflow_core.errors import (
    KeyRefused,
    ModelUnavailable,
    Overloaded,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    Refused,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)

STATUS_ERRORS: dict[int, type[UpstreamError]] = {
    401: KeyRefused, 402: PaymentRequired, 403: Refused, 404: ModelUnavailable, 429: RateLimited,
    **dict.fromkeys((408, 504, 524), UpstreamTimeout),
    **dict.fromkeys((503, 529), Overloaded),
}  # fmt: skip
"""Statuses whose error is not that of other 4xx or 5xx (the router's description of 2026-08-22)."""


def error_for_status(status: int) -> type[UpstreamError]:
    """Return the error class of a status outside 2xx.

    By default it is `UpstreamRejected` for 4xx, and `ProviderUnavailable` for all others.
    """
    rule = UpstreamRejected if 400 <= status < 500 else ProviderUnavailable
    return STATUS_ERRORS.get(status, rule)
