"""The sums of days are those of the calls, whatever was written, corrected, replaced or erased."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.errors import NotFound
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.summary import EntriesReader, Groups
from devflow_core.testing import a_booked_request
from devflow_core.usage import Usage
from devflow_store import Store
from devflow_store.database.schema import create_tables
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.recorder import PROCESS_LOST
from hypothesis import given
from hypothesis import strategies as st

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
MIDNIGHT = datetime.fromisoformat("2026-11-20T00:00:00+00:00")
BY: tuple[tuple[GroupBy, ...], ...] = (("session",), ("day", "model"), ("provider", "error"))
PERIODS = ((None, None), (30, None), (None, 50), (6, 54), (24, 48), (25, 26))
"""Periods in hours after midnight: of whole days, of parts of them, and of an hour."""

hours = st.integers(0, 71)
sessions = st.sampled_from(["s1", "s2", "s3"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), hours, sessions),
        st.tuples(st.just("lose"), hours, sessions),
        st.tuples(st.just("confirm"), st.integers(0, 20), st.integers(0, 10**9)),
        st.tuples(st.just("close"), st.integers(0, 20), st.integers(0, 10**9)),
        st.tuples(st.just("erase"), sessions),
        st.tuples(st.just("retain"), hours),
        st.tuples(st.just("sum")),
    ),
    max_size=25,
)


def _sum_exactly(store: Store) -> list[Groups]:
    """Return the reports of every grouping and period."""
    return [
        store.aggregate(by, since=_at(since), until=_at(until))
        for by in BY
        for since, until in PERIODS
    ]


def _at(hours_later: int | None) -> datetime | None:
    return None if hours_later is None else MIDNIGHT + timedelta(hours=hours_later)


def _make_request(step: tuple[Any, ...], number: int) -> tuple[AttemptStart, LedgerEntry]:
    kind, at, session = step
    start, entry = a_booked_request(
        at=MIDNIGHT + timedelta(hours=at, minutes=number),
        attribution=Attribution(session_id=session, project="shop"),
    )
    if kind == "lose":
        entry = replace(entry, outcome="failed", error_code=PROCESS_LOST)
    return start, entry


async def _take(store: Store, step: tuple[Any, ...], written: list[LedgerEntry]) -> None:
    match step:
        case "confirm", number, pico if written:
            entry = written[int(number) % len(written)]
            cost, usage = Decimal(pico).scaleb(-12), Usage(output_tokens=pico % 100)
            with suppress(NotFound):  # it was erased
                await store.confirm(entry.attempts[0].attempt_id, cost, usage=usage, provider="Q")
        case "close", number, pico if written:
            entry = written[int(number) % len(written)]
            attempt = replace(entry.attempts[0], cost_usd=Decimal(pico).scaleb(-12))
            await store.close(
                replace(entry, outcome="succeeded", error_code=None, attempts=(attempt,))
            )
        case "erase", session:
            await store.erase(session_id=session)
        case "retain", at:
            await store.erase(before=MIDNIGHT + timedelta(hours=at))
        case _:
            await store.sums.catch_up()


@pytest.mark.laws(1_000)  # each opens two ledgers
@given(steps)
def test_sums_are_those_of_the_calls_after_any_mix_of_changes(taken: list[tuple[Any, ...]]) -> None:
    """A second ledger, whose days are never summed, is given the same and read call by call."""

    async def main(folder: Path) -> None:
        async with Store(folder / "a" / "l.db") as summed, Store(folder / "b" / "l.db") as plain:
            written: list[LedgerEntry] = []
            for step in taken:
                if step[0] in ("write", "lose"):
                    start, entry = _make_request(step, len(written))
                    written.append(entry)
                    for store in (summed, plain):
                        await store.begin(start)
                        await store.close(entry)
                    continue
                for store in (summed,) if step[0] == "sum" else (summed, plain):
                    await _take(store, step, written)
            assert _sum_exactly(summed) == _sum_exactly(plain)
            assert summed.verify().ok
            await summed.sums.catch_up()
            assert _sum_exactly(summed) == _sum_exactly(plain)
            assert summed.verify().ok

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))


def test_both_databases_sum_days_alike(database: Any, request_of: Build) -> None:
    requests = [request_of(number * 3600) for number in range(60)]
    entries = [entry for _start, entry in requests]
    reference = EntriesReader(lambda: entries)

    async def main() -> None:
        async with Store(database) as store:
            for number, (start, entry) in enumerate(requests):
                await store.begin(start)
                await store.close(entry)
                if number == 40:
                    await store.sums.catch_up()
            for by in BY:
                for since, until in ((None, None), (entries[5].started_at, entries[50].started_at)):
                    period: Any = {"since": since, "until": until}
                    assert store.aggregate(by, **period) == reference.aggregate(by, **period)
            await store.confirm(entries[0].attempts[0].attempt_id, Decimal("0.25"), "0.25")
            await store.erase(session_id="s1")
            assert sum(one.requests for one in store.groups("day").values()) == 60
            assert set(store.groups("session")) == {""}
            assert store.verify().ok

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE day_sums SET cost_pico = cost_pico + 1",
        "UPDATE day_sums SET ttft = X''",
        "UPDATE day_sums SET day = day + 1",
        "DELETE FROM day_sums",
    ],
)
def test_verify_finds_sums_that_were_changed(file: Path, request_of: Build, change: str) -> None:
    async def main() -> None:
        async with Store(file) as store:
            await store.close(request_of(1)[1])
            await store.sums.catch_up()
            assert store.verify().ok
            session = SqliteEngine(file).open_writer()
            session.execute(change)
            session.close()
            found = store.verify()
            assert (found.ok, found.first_bad) == (False, 1), found
            assert found.reason is not None
            assert "sums" in found.reason

    asyncio.run(main())


def test_a_ledger_without_sums_is_upgraded_and_summed(file: Path, request_of: Build) -> None:
    engine = SqliteEngine(file)
    engine.create_file()
    session = engine.open_without_wal()
    session.begin()
    create_tables(session, 3, "sqlite")
    session.commit()
    session.close()
    entries = [request_of(number)[1] for number in range(5)]

    async def main() -> None:
        async with Store(file) as store:
            for entry in entries:
                await store.close(entry)
            before = store.groups("model")
            await store.sums.catch_up()
            assert store.groups("model") == before
            assert store.verify().ok
        session = engine.open_reader()
        assert session.execute("SELECT SUM(requests) FROM day_sums") == [(5,)]
        session.close()

    asyncio.run(main())
