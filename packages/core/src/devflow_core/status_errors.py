"""Which error a provider's HTTP status stands for, where its body does not say more."""

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
"""HTTP status → error, where it is more than its hundred tells (described on 2026-08-22)."""


def error_for_status(status: int) -> type[UpstreamError]:
    """The class for a status that is not 2xx; an unknown 4xx is a rejection, the rest a failure."""
    rule = UpstreamRejected if 400 <= status < 500 else ProviderUnavailable
    return STATUS_ERRORS.get(status, rule)
