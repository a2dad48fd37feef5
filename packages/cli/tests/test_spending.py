"""What an examination books of a reply whose cost is not stated."""

from decimal import Decimal
from typing import Any

import pytest
from devflow_cli.conformance.spending import Spending

READ = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}
WRITTEN = {"input_tokens": 10, "cache_creation_input_tokens": 90, "output_tokens": 5}
INCLUDED = {
    "prompt_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 90},
    "output_tokens": 5,
}


@pytest.mark.parametrize("usage", [READ, WRITTEN, INCLUDED])
def test_tokens_of_a_cache_are_counted_in_every_dialect(usage: dict[str, Any]) -> None:
    spending = Spending(limit_usd=Decimal(1), prices={"acme/one": (Decimal(1), Decimal(2))})
    spending.add(usage, "acme/one", Decimal(1000))
    assert spending.spent_usd == 100 * Decimal("1.25") + 10
