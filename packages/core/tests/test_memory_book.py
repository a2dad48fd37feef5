"""A book in memory keeps to its one limit, even if the worst case of a call is unknown."""

from decimal import Decimal

import pytest
from devflow_core.errors import BudgetExceeded, UnknownPrice
from devflow_core.ledger import AttemptStart
from devflow_core.memory import MemoryBook
from devflow_core.testing import EPOCH, an_attempt, an_entry
from devflow_core.usage import to_pico

MODEL = "anthropic/claude-haiku-4.5"


def a_book(limit_usd: str, *, allow_unknown_price: bool = False) -> MemoryBook:
    return MemoryBook(
        limit_pico=to_pico(Decimal(limit_usd)), allow_unknown_price=allow_unknown_price
    )


def a_start(attempt_id: str, reserved_usd: str | None, unpriced_reason: str = "") -> AttemptStart:
    return AttemptStart(
        attempt_id=attempt_id,
        entry_id=f"req_of_{attempt_id}",
        number=1,
        model=MODEL,
        started_at=EPOCH,
        reserved_usd=None if reserved_usd is None else Decimal(reserved_usd),
        task_type="coding",
        unpriced_reason=unpriced_reason,
    )


async def end(book: MemoryBook, attempt_id: str, cost_usd: str) -> None:
    attempt = an_attempt(attempt_id=attempt_id, cost_usd=Decimal(cost_usd))
    await book.close(an_entry(entry_id=f"req_of_{attempt_id}", attempts=(attempt,)))


def open_ids(book: MemoryBook) -> list[str]:
    return [one.attempt_id for one in book.open_attempts]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", f"the price of {MODEL} is not known"),
        ("tools.0: it is not known what it costs", "tools.0: it is not known what it costs"),
    ],
)
async def test_a_call_of_unknown_price_is_refused_under_a_limit(reason: str, said: str) -> None:
    book = a_book("1")
    with pytest.raises(UnknownPrice, match="or set allow_unknown_price") as caught:
        await book.begin(a_start("one", None, reason))
    assert said in str(caught.value)
    assert caught.value.model == MODEL
    assert open_ids(book) == []


async def test_a_call_of_unknown_price_starts_where_there_is_no_limit() -> None:
    book = MemoryBook()
    await book.begin(a_start("one", None))
    await book.begin(a_start("two", None))
    assert open_ids(book) == ["one", "two"]


async def test_calls_of_unknown_price_go_one_at_a_time_where_they_are_allowed() -> None:
    book = a_book("1", allow_unknown_price=True)
    await book.begin(a_start("priced", "0.4"))
    await book.begin(a_start("one", None))
    with pytest.raises(BudgetExceeded, match="they go one at a time") as caught:
        await book.begin(a_start("two", None))
    assert caught.value.retry_after_s == 1.0
    assert caught.value.model == MODEL
    assert open_ids(book) == ["priced", "one"]
    await end(book, "one", "0.3")
    await book.begin(a_start("two", None))
    assert open_ids(book) == ["priced", "two"]
    assert book.spent_usd == Decimal("0.3")


@pytest.mark.parametrize("cost_usd", ["1", "1.5"])
async def test_nothing_of_unknown_price_starts_when_the_budget_is_spent(cost_usd: str) -> None:
    book = a_book("1", allow_unknown_price=True)
    await book.begin(a_start("one", None))
    await end(book, "one", cost_usd)
    with pytest.raises(BudgetExceeded, match="Nothing is left of the budget") as caught:
        await book.begin(a_start("two", None))
    assert caught.value.model == MODEL
    assert open_ids(book) == []


async def test_the_last_of_a_budget_can_be_reserved_and_no_more() -> None:
    book = a_book("1")
    await book.begin(a_start("one", "0.6"))
    await book.begin(a_start("two", "0.4"))
    with pytest.raises(BudgetExceeded, match="and 0 USD of the budget are left"):
        await book.begin(a_start("three", "0.000000000001"))
    await end(book, "two", "0.1")
    await book.begin(a_start("three", "0.3"))
    assert open_ids(book) == ["one", "three"]
