"""Renewing the catalogue, and who is asked after which error."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    Disposition,
    NotSent,
    Overloaded,
    Refused,
    StructuredOutputInvalid,
)
from devflow_core.routing import Terms
from devflow_core.testing import EPOCH, a_candidate
from devflow_openrouter.models import Catalogue, CatalogueRefresh
from devflow_openrouter.routing import chains

ROW: dict[str, Any] = {
    "id": "a/one",
    "context_length": 1000,
    "pricing": {"prompt": "0.000001", "completion": "0.000002"},
}


class Source:
    def __init__(self, *bodies: dict[str, Any] | Exception) -> None:
        self.bodies = list(bodies)
        self.fetched = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        self.fetched += 1
        await self.gate.wait()
        body = self.bodies.pop(0)
        if isinstance(body, Exception):
            raise body
        return body


def refresh_of(source: Source, used: list[Catalogue] | None = None) -> CatalogueRefresh:
    start = Catalogue.from_openrouter({"data": [ROW]}, fetched_at=EPOCH)

    def ignore(_catalogue: Catalogue) -> None: ...

    use = used.append if used is not None else ignore
    return CatalogueRefresh(source, start=start, use=use, clock=lambda: EPOCH)


async def test_many_callers_make_one_fetch_and_see_what_changed() -> None:
    dearer = {**ROW, "pricing": {"prompt": "0.000002", "completion": "0.000002"}}
    source, used = Source({"data": [dearer, {**ROW, "id": "a/two"}]}), list[Catalogue]()
    refresh = refresh_of(source, used)
    callers = [asyncio.ensure_future(refresh.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    source.gate.set()
    changes = (await asyncio.gather(*callers[1:]))[0]
    assert source.fetched == 1
    assert [(one.model, one.kind) for one in changes] == [
        ("a/one", "price_rose"),
        ("a/two", "added"),
    ]
    assert used == [refresh.current]


async def test_the_old_list_stays_while_the_source_fails() -> None:
    source = Source(NotSent("no network"), {"data": []}, {"data": [ROW]})
    source.gate.set()
    refresh = refresh_of(source)
    before = refresh.current
    for _ in range(2):
        with pytest.raises((NotSent, Exception)):
            await refresh.refresh()
        assert refresh.current is before
        assert refresh.error is not None
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await refresh.run(sleep)
    assert refresh.error is None
    assert waits == [3600.0]


async def test_closing_ends_a_fetch_under_way() -> None:
    refresh = refresh_of(Source({"data": [ROW]}))
    waiting = asyncio.ensure_future(refresh.refresh())
    await asyncio.sleep(0)
    await refresh.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


FAILED = a_candidate("a/x", max_input_tokens=100, worst_case_usd=Decimal(2))
SMALL = a_candidate("a/small", max_input_tokens=50, worst_case_usd=Decimal(1))
LARGE = a_candidate(
    "b/large",
    max_input_tokens=500,
    worst_case_usd=Decimal(3),
    terms=Terms(quality=0.95, cost_usd=0.1, latency_s=None),
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
    found = chains.after(error, FAILED, (SMALL, LARGE))
    assert [one.model for one in found] == expected
    assert error.disposition is not Disposition.FAIL or not found
