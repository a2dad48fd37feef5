"""Who is asked after which error."""

from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    NotSent,
    Overloaded,
    Refused,
    StructuredOutputInvalid,
)
from devflow_core.routing import ScoreTerms
from devflow_core.statuses import Disposition
from devflow_core.testing import a_candidate
from devflow_upstream.policies.fallback_order import order_fallbacks

FAILED = a_candidate("a/x", max_input_tokens=100, worst_case_usd=Decimal(2))
SMALL = a_candidate("a/small", max_input_tokens=50, worst_case_usd=Decimal(1))
LARGE = a_candidate(
    "b/large",
    max_input_tokens=500,
    worst_case_usd=Decimal(3),
    terms=ScoreTerms(quality=0.95, cost_usd=0.1, latency_s=None),
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ContextTooLong("too long"), ["b/large"]),
        (BudgetExceeded("too dear"), ["a/small"]),
        (Overloaded("busy"), ["b/large", "a/small"]),
        (StructuredOutputInvalid("no", reply="", violations=()), ["b/large", "a/small"]),
        (NotSent("refused"), ["a/small", "b/large"]),
        (Refused("moderated"), []),
    ],
)
def test_each_class_of_error_has_its_remedy(error: Any, expected: list[str]) -> None:
    found = order_fallbacks(error, FAILED, (SMALL, LARGE))
    assert [one.model for one in found] == expected
    assert error.disposition is not Disposition.FAIL or not found
