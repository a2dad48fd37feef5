"""Renewing the catalogue."""

import asyncio
from typing import Any

import pytest
from devflow_core.errors import NotSent
from devflow_core.testing import EPOCH
from devflow_openrouter.models.catalogue import parse_catalogue
from devflow_routing import Catalogue, CatalogueRefresher

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

    async def __call__(self) -> Catalogue:
        self.fetched += 1
        await self.gate.wait()
        body = self.bodies.pop(0)
        if isinstance(body, Exception):
            raise body
        return parse_catalogue(body, fetched_at=EPOCH)


def refresher_of(source: Source, used: list[Catalogue] | None = None) -> CatalogueRefresher:
    initial = parse_catalogue({"data": [ROW]}, fetched_at=EPOCH)

    def ignore(_catalogue: Catalogue) -> None: ...

    on_change = used.append if used is not None else ignore
    return CatalogueRefresher(source, initial=initial, on_change=on_change, clock=lambda: EPOCH)


async def test_many_callers_make_one_fetch_and_see_what_changed() -> None:
    dearer = {**ROW, "pricing": {"prompt": "0.000002", "completion": "0.000002"}}
    source, used = Source({"data": [dearer, {**ROW, "id": "a/two"}]}), list[Catalogue]()
    refresher = refresher_of(source, used)
    callers = [asyncio.ensure_future(refresher.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    source.gate.set()
    changes = (await asyncio.gather(*callers[1:]))[0]
    assert source.fetched == 1
    assert [(one.model, one.kind) for one in changes] == [
        ("a/one", "price_rose"),
        ("a/two", "added"),
    ]
    assert used == [refresher.current]


async def test_the_old_list_stays_while_the_source_fails() -> None:
    source = Source(NotSent("no network"), {"data": []}, {"data": [ROW]})
    source.gate.set()
    refresher = refresher_of(source)
    before = refresher.current
    for _ in range(2):
        with pytest.raises((NotSent, Exception)):
            await refresher.refresh()
        assert refresher.current is before
        assert refresher.last_error is not None
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await refresher.run(sleep)
    assert refresher.last_error is None
    assert waits == [3600.0]


async def test_closing_ends_a_fetch_under_way() -> None:
    refresher = refresher_of(Source({"data": [ROW]}))
    waiting = asyncio.ensure_future(refresher.refresh())
    await asyncio.sleep(0)
    await refresher.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
