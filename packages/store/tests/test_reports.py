"""The sums that the database computes equal those of the entries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GROUPINGS
from devflow_core.errors import InvalidRequest, NotFound
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.summary import EntriesReader
from devflow_core.usage import Usage
from devflow_store import Store

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


def _varied(request_of: Build, count: int) -> list[LedgerEntry]:
    """Return entries with retries, failures, cache hits and labels of all kinds."""
    chance = random.Random(7)  # noqa: S311 - repeatable, not secret
    entries: list[LedgerEntry] = []
    for number in range(count):
        _start, entry = request_of(number * 1000, cost_usd=f"0.{chance.randrange(10**9):09}")
        attempts = list(entry.attempts) * chance.randrange(3)
        entries.append(
            replace(
                entry,
                attempts=tuple(_attempt(one, at, chance) for at, one in enumerate(attempts, 1)),
                outcome=chance.choice(["succeeded", "failed", "cancelled"]),
                error_code=chance.choice([None, "rate_limited"]),
                is_cache_hit=chance.random() < 0.2,
                ttft_s=chance.choice([None, chance.random()]),
                total_s=chance.random() * 10,
                attribution=Attribution(
                    **{  # pyright: ignore[reportArgumentType]
                        field.name: chance.choice([None, f"a {field.name}", f"b {field.name}"])
                        for field in fields(Attribution)
                        if field.name != "tags"
                    }
                ),
            )
        )
    return entries


def _attempt(attempt: Attempt, number: int, chance: random.Random) -> Attempt:
    return replace(
        attempt,
        attempt_id=f"{attempt.attempt_id}-{number}",
        number=number,
        model=chance.choice(["x/a", "x/b"]),
        provider=chance.choice([None, "P", "Q"]),
        cost_status=chance.choice(["settled", "estimated", "observed"]),
        cost_doubt=chance.choice([None, None, "zero", "above_reserve"]),
        usage=Usage(input_tokens=chance.randrange(9), reasoning_tokens=chance.randrange(9)),
    )


async def _fill(store: Store, entries: list[LedgerEntry]) -> None:
    await asyncio.gather(*(store.close(entry) for entry in entries))


def test_any_grouping_equals_the_fold_over_the_entries(database: Any, request_of: Build) -> None:
    entries = _varied(request_of, 200)
    reference = EntriesReader(lambda: entries)

    async def main() -> None:
        async with Store(database) as store:
            await _fill(store, entries)
            for one in GROUPINGS:
                by = (one,)
                assert store.aggregate(by) == reference.aggregate(by)
            for pair in permutations(GROUPINGS, 2):
                assert store.aggregate(pair) == reference.aggregate(pair), pair
            mixed: Any = ("model", "task", "session", "error", "day")
            assert store.aggregate(mixed) == reference.aggregate(mixed)
            since = entries[50].started_at + timedelta(microseconds=1)
            until = entries[150].started_at
            some: Any = {"since": since, "until": until}
            assert store.aggregate(("model",), **some) == reference.aggregate(("model",), **some)

    asyncio.run(main())


def test_an_unknown_grouping_is_refused(database: Any) -> None:
    async def main() -> None:
        async with Store(database) as store:
            for wrong in ("password", "1; DROP TABLE chain", ""):
                with pytest.raises(InvalidRequest):
                    store.groups(wrong)  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_confirmed_cost_takes_the_place_of_the_estimate(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            start, entry = request_of(1, cost_usd="0.5")
            guess = replace(entry.attempts[0], cost_status="estimated", cost_text=None)
            await store.begin(start)
            await store.close(replace(entry, attempts=(guess,)))
            ((_entry, attempt),) = store.unconfirmed()
            assert attempt == guess
            for _again in range(2):
                await store.confirm(
                    attempt.attempt_id,
                    Decimal("0.125"),
                    "0.1250",
                    usage=Usage(input_tokens=9),
                    provider="Other",
                )
            after = store.entry(entry.entry_id)
            assert after is not None
            final = after.attempts[0]
            assert (final.cost_status, final.cost_usd, final.cost_text) == (
                "settled",
                Decimal("0.125"),
                "0.1250",
            )
            assert store.unconfirmed() == []
            assert store.groups("provider")["Other"].cost_pico == 125 * 10**9
            assert set(store.groups("provider")) == {"Other"}
            assert store.verify().rows == 3
            with pytest.raises(NotFound):
                await store.confirm("att_unknown", Decimal(1))

    asyncio.run(main())
