"""Orders the remaining candidates by the last error, since each kind calls for other models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from devflow_core.errors import (
    BudgetExceeded,
    CircuitOpen,
    ContextTooLong,
    DevFlowError,
    Overloaded,
    ProviderUnavailable,
    RateLimited,
    StructuredOutputInvalid,
    UpstreamTimeout,
)
from devflow_core.routing import Candidate
from devflow_core.statuses import Disposition

_Remedy = Callable[[Candidate, Sequence[Candidate]], list[Candidate]]


def order_fallbacks(
    error: DevFlowError, failed: Candidate, remaining: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Return the candidates that are worth asking after this error, in order.

    A context window that was too small calls for a larger one, a worst case that was too high for a
    lower one; trouble at a provider for another maker first, since models of one maker fail
    together; a reply of the wrong form for a better model. For other errors the order is unchanged.

    Args:
        error: how `failed` failed.
        failed: the candidate that was asked.
        remaining: the candidates that have not been asked, in the route's order.
    """
    if error.disposition is Disposition.FAIL:
        return ()
    remedies = (remedy for kinds, remedy in _REMEDIES if isinstance(error, kinds))
    remedy = next(remedies, None)
    return tuple(remedy(failed, remaining) if remedy else remaining)


def _with_larger_window(failed: Candidate, remaining: Sequence[Candidate]) -> list[Candidate]:
    window = failed.max_input_tokens or 0
    return [one for one in remaining if (one.max_input_tokens or window + 1) > window]


def _with_lower_cost(failed: Candidate, remaining: Sequence[Candidate]) -> list[Candidate]:
    failed_usd = failed.worst_case_usd
    if failed_usd is None:
        return [one for one in remaining if one.worst_case_usd is not None]
    return [
        one
        for one in remaining
        if one.worst_case_usd is not None and one.worst_case_usd < failed_usd
    ]


def _other_authors_first(failed: Candidate, remaining: Sequence[Candidate]) -> list[Candidate]:
    maker = failed.model.partition("/")[0]
    return sorted(remaining, key=lambda one: one.model.partition("/")[0] == maker)


def _best_quality_first(_failed: Candidate, remaining: Sequence[Candidate]) -> list[Candidate]:
    return sorted(remaining, key=lambda one: -one.terms.quality if one.terms else 0.0)


_REMEDIES: tuple[tuple[Any, _Remedy], ...] = (
    (ContextTooLong, _with_larger_window),
    (BudgetExceeded, _with_lower_cost),
    (
        (RateLimited, Overloaded, ProviderUnavailable, UpstreamTimeout, CircuitOpen),
        _other_authors_first,
    ),
    (StructuredOutputInvalid, _best_quality_first),
)
