"""An accepted entry can be read back unchanged and exactly once, and the chain proves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store
from devflow_store.engines.sqlite import SqliteEngine

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


async def _write(store: Store, request: tuple[AttemptStart, LedgerEntry]) -> LedgerEntry:
    start, entry = request
    await store.begin(start)
    await store.close(entry)
    return entry


def _run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_written_entry_is_read_back_equal(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            entry = await _write(store, request_of(1))
            assert store.entry(entry.entry_id) == entry
            assert list(store.entries()) == [entry]

    _run(main())


def test_entries_survive_the_end_of_the_process(database: Any, request_of: Build) -> None:
    async def write() -> list[LedgerEntry]:
        async with Store(database) as store:
            return list(
                await asyncio.gather(*(_write(store, request_of(number)) for number in range(500)))
            )

    written = _run(write())
    assert sorted(Store(database).entries(), key=lambda one: one.started_at) == written


def test_entries_are_chosen_by_time_and_session(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            first = await _write(store, request_of(0))
            other = await _write(store, request_of(1, attribution=Attribution(session_id="s2")))
            last = await _write(store, request_of(2))
        since = first.started_at + timedelta(seconds=1)
        assert list(store.entries(since=since)) == [other, last]
        assert list(store.entries(until=since)) == [first]
        assert list(store.entries(session_id="s1")) == [first, last]

    _run(main())


def test_closing_twice_writes_once(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            entry = await _write(store, request_of(0))
            await store.close(entry)
            await asyncio.gather(store.close(entry), store.close(entry))
            assert list(store.entries()) == [entry]
            assert store.verify().entries == 1

    _run(main())


def test_a_closed_store_refuses(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            pass
        with pytest.raises(StoreError, match="closed"):
            await store.begin(request_of()[0])

    _run(main())


def test_the_file_is_its_owners_alone(file: Path) -> None:
    async def main() -> None:
        async with Store(file):
            pass

    _run(main())
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("column", ["key", "body", "hash", "at_us", "kind"])
def test_a_touched_row_is_named(file: Path, request_of: Build, column: str) -> None:
    async def main() -> None:
        async with Store(file) as store:
            for number in range(5):
                await _write(store, request_of(number))

    _run(main())
    assert Store(file).verify().ok
    change = {
        "key": "replace(key, 'att', 'aTt')",
        "body": "CAST(replace(CAST(body AS TEXT), '0.01', '0.02') AS BLOB)",
        "hash": "zeroblob(32)",
        "at_us": "at_us + 1",
        "kind": "kind + 1",
    }[column]
    sql = f"UPDATE chain SET {column} = {change} WHERE seq = 3"  # noqa: S608 - constants
    SqliteEngine(file).open_writer().execute(sql)
    found = Store(file).verify()
    assert (found.ok, found.first_bad) == (False, 3)


def test_a_row_touched_in_postgresql_is_named(postgres_database: str, request_of: Build) -> None:
    async def main() -> None:
        async with Store(postgres_database) as store:
            for number in range(3):
                await _write(store, request_of(number))

    _run(main())
    with psycopg.connect(postgres_database) as connection:
        connection.execute("UPDATE chain SET body = body || 'x'::bytea WHERE seq = 5")
    found = Store(postgres_database).verify()
    assert (found.ok, found.first_bad, found.rows) == (False, 5, 4)


def test_a_removed_row_and_a_cut_end_are_named(file: Path, request_of: Build) -> None:
    async def main() -> None:
        async with Store(file) as store:
            for number in range(5):
                await _write(store, request_of(number))

    _run(main())
    head = Store(file).verify().head
    connection = SqliteEngine(file).open_writer()
    connection.execute("DELETE FROM chain WHERE seq > 8")
    assert Store(file).verify().first_bad == 9  # the head is noted beside the file
    Path(f"{file}.head").unlink()
    assert Store(file).verify().ok
    assert Store(file).verify(anchor=head).first_bad == 9
    connection.execute("DELETE FROM chain WHERE seq = 4")
    assert Store(file).verify().first_bad == 4


async def test_requests_beside_a_verification_are_no_difference(
    database: str | Path, request_of: Build
) -> None:
    async with Store(database) as store:

        async def write() -> None:
            for _ in range(400):
                await _write(store, request_of())

        writing = asyncio.create_task(write())
        while not writing.done():
            found = await asyncio.to_thread(store.verify)
            assert found.ok, found.reason
        await writing
