"""Pages of requests hold exactly those that match, newest first, whatever the filter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store
from devflow_store.entries import requests
from devflow_store.entries.requests import RequestFilter

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


def _make_entries(request_of: Build, count: int) -> list[LedgerEntry]:
    """Return entries over ten days with labels, outcomes and costs of all kinds."""
    chance = random.Random(3)  # noqa: S311 - repeatable, not secret
    entries: list[LedgerEntry] = []
    for _number in range(count):
        labels = Attribution(
            session_id=f"s{chance.randrange(20)}",
            project=chance.choice(["shop", "site"]),
            client_key=chance.choice(["ci", None]),
        )
        number = chance.randrange(10 * 86_400)
        _start, entry = request_of(
            number, attribution=labels, cost_usd=f"0.{chance.randrange(100):02}"
        )
        attempts = tuple(
            replace(
                entry.attempts[0],
                attempt_id=f"{entry.attempts[0].attempt_id}-{at}",
                number=at,
                model=chance.choice(["x/a", "x/b"]),
                provider=chance.choice(["P", "Q"]),
            )
            for at in range(1, chance.randrange(4))
        )
        error = chance.choice([None, None, "rate_limited"])
        outcome = "failed" if error else "succeeded"
        entries.append(replace(entry, attempts=attempts, outcome=outcome, error_code=error))
    return entries


def _matches(entry: LedgerEntry, chosen: RequestFilter) -> bool:
    final, labels = entry.final_attempt, entry.attribution
    provider = final.provider if final else None
    is_failed = entry.outcome != "succeeded"
    outcomes = {None: True, "succeeded": not is_failed, "failed": is_failed}
    return (
        (chosen.since is None or entry.started_at >= chosen.since)
        and (chosen.until is None or entry.started_at < chosen.until)
        and chosen.model in (None, entry.model)
        and chosen.provider in (None, provider)
        and chosen.client_key in (None, labels.client_key)
        and chosen.project in (None, labels.project)
        and chosen.session in (None, labels.session_id)
        and outcomes.get(chosen.outcome, chosen.outcome == entry.error_code)
        and (chosen.min_usd is None or entry.cost_usd >= chosen.min_usd)
        and (chosen.max_usd is None or entry.cost_usd <= chosen.max_usd)
    )


def _count_none(_source: object) -> int:
    return 0


def _read_all(store: Store, chosen: RequestFilter, limit: int) -> list[str]:
    """Follow the cursor from the first page to the last."""
    page = store.requests(chosen, limit=limit)
    found = [one.entry_id for one in page.entries]
    while page.cursor is not None:
        assert len(page.entries) == limit
        page = store.requests(chosen, limit=limit, cursor=page.cursor)
        found += [one.entry_id for one in page.entries]
    return found


@pytest.mark.parametrize("walked", [1, 20, 1_000])
@pytest.mark.parametrize("is_summed", [False, True])
def test_every_filter_finds_what_matches(
    database: Any,
    request_of: Build,
    monkeypatch: pytest.MonkeyPatch,
    walked: int,
    is_summed: bool,
) -> None:
    """Whether they are found one by one or by the sums of days."""
    monkeypatch.setattr(requests, "_WALKED", walked)
    monkeypatch.setattr(requests, "count_unsummed", _count_none)
    entries = _make_entries(request_of, 150)
    filters = [
        RequestFilter(),
        RequestFilter(model="x/a"),
        RequestFilter(provider="Q", outcome="succeeded"),
        RequestFilter(project="shop", client_key="ci"),
        RequestFilter(session="s3"),
        RequestFilter(outcome="failed"),
        RequestFilter(outcome="rate_limited", session="s5"),
        RequestFilter(min_usd=Decimal("0.5"), max_usd=Decimal("1.2")),
        RequestFilter(since=entries[0].started_at, until=entries[1].started_at),
        RequestFilter(until=entries[2].started_at, model="x/b"),
        RequestFilter(model="nobody"),
    ]

    async def main() -> None:
        async with Store(database) as store:
            for number, entry in enumerate(entries):
                await store.close(entry)
                if number == 140 and is_summed:
                    await store.sums.catch_up()
            newest = sorted(
                entries, key=lambda one: (one.started_at, entries.index(one)), reverse=True
            )
            for chosen in filters:
                expected = [one.entry_id for one in newest if _matches(one, chosen)]
                for limit in (7, 150):
                    if is_summed or walked == 1_000:
                        assert _read_all(store, chosen, limit) == expected, chosen

    asyncio.run(main())


def test_a_page_shows_confirmed_costs_and_nothing_erased(file: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(file) as store:
            kept, erased = request_of(1), request_of(2, attribution=Attribution(session_id="x"))
            for start, entry in (kept, erased):
                await store.begin(start)
                await store.close(entry)
            await store.confirm(kept[1].attempts[0].attempt_id, Decimal("0.25"))
            await store.erase(session_id="x")
            (entry,) = store.requests(RequestFilter(min_usd=Decimal("0.25"))).entries
            assert (entry.entry_id, entry.cost_usd) == (kept[1].entry_id, Decimal("0.25"))
            assert len(store.requests().entries) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 1_001}, {"cursor": "x"}, {"cursor": "1"}]
)
def test_a_wrong_limit_or_cursor_is_refused(file: Any, wrong: dict[str, Any]) -> None:
    async def main() -> None:
        async with Store(file) as store:
            with pytest.raises(InvalidRequest):
                store.requests(**wrong)

    asyncio.run(main())


def test_the_latest_entries_come_oldest_first(file: Any, request_of: Build) -> None:
    entries = [request_of(number)[1] for number in range(9)]

    async def main() -> None:
        async with Store(file) as store:
            for entry in entries:
                await store.close(entry)
            since = entries[2].started_at
            assert store.latest(4, since=since) == entries[5:]
            assert store.latest(100, since=since + timedelta(microseconds=1)) == entries[3:]

    asyncio.run(main())
