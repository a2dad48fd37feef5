"""Edge cases: URLs of no database, labels of all kinds, and a full emergency file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import ConfigurationError, InvalidRequest, StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Budget, Store
from devflow_store.chain.overflow import MAX_ENTRIES, SIZE_BYTES, OverflowFile
from devflow_store.chain.writer import WriteJob
from devflow_store.engines.database_url import create_engine
from devflow_store.engines.sqlite import SqliteEngine

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


def test_a_path_and_its_url_are_the_same_database(file: Path) -> None:
    for database in (file, str(file), f"sqlite:///{file}", f"sqlite://{file}"):
        engine = create_engine(database)
        assert isinstance(engine, SqliteEngine)
        assert engine.path == file
    with pytest.raises(ConfigurationError, match="mysql"):
        create_engine("mysql://localhost/devflow")


def test_a_database_on_a_server_keeps_its_files_in_the_data_folder(
    data_dir: Path, tmp_path: Path
) -> None:
    url = "postgresql://localhost/devflow"
    assert create_engine(url).dialect == "postgresql"
    assert create_engine(url).folder == data_dir  # never the working directory
    assert create_engine(url, tmp_path).folder == tmp_path


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    async def main() -> None:
        async with Store("postgresql://me:hunter2@127.0.0.1:1/x", data_dir=tmp_path):
            pass

    with pytest.raises(StoreError, match="cannot be used") as caught:
        asyncio.run(main())
    assert "hunter2" not in str(caught.value)


def test_the_emergency_file_is_bounded_and_allocated_beforehand(
    tmp_path: Path, request_of: Build
) -> None:
    overflow = OverflowFile(tmp_path)
    overflow.open()
    assert (tmp_path / "ledger.emergency-0").stat().st_size == SIZE_BYTES
    entry = replace(request_of(1)[1], decision="x" * 100_000)

    def fill() -> None:
        for _entry in range(MAX_ENTRIES + 1):
            overflow.add(entry)

    with pytest.raises(StoreError, match="is full"):
        fill()
    count = overflow.count
    assert len(overflow.read_entries()) == count
    overflow.clear(count - 1)  # one has come meanwhile: nothing is forgotten
    assert overflow.count == count
    overflow.clear(count)
    assert (overflow.count, overflow.read_entries()) == (0, [])
    overflow.close()


def test_a_torn_record_ends_the_emergency_file(tmp_path: Path, request_of: Build) -> None:
    entries = [request_of(number)[1] for number in range(3)]
    overflow = OverflowFile(tmp_path)
    overflow.open()
    for entry in entries:
        overflow.add(entry)
    overflow.close()
    path = tmp_path / "ledger.emergency-0"
    content = bytearray(path.read_bytes())
    content[content.rindex(b"gen-2")] ^= 1
    path.write_bytes(content)
    again, other = OverflowFile(tmp_path), OverflowFile(tmp_path)
    again.open()
    other.open()  # each process has a file of its own
    assert again.read_entries() == entries[:2]
    assert other.count == 0
    again.close()
    other.close()


def test_strange_labels_are_kept_or_refused_and_harm_nobody(
    database: Any, tmp_path: Path, request_of: Build
) -> None:
    async def main() -> None:
        async with Store(database, data_dir=tmp_path) as store:
            for label in ("\x00a\x00", "' OR 1=1 --", "\u2028\U0001f600", "%_?", "x" * 10_000):
                start, entry = request_of(1, attribution=Attribution(session_id=label))
                await store.begin(start)
                await store.close(entry)
                assert store.entry(entry.entry_id) == entry
            with pytest.raises(InvalidRequest, match="label"):
                await store.begin(request_of(2, attribution=Attribution(project="\udc80"))[0])
            with pytest.raises(StoreError, match="Unicode"):
                await store.nodes.set("\udc80", {})
            assert len(store.groups("session")) == 5
            assert store.verify().ok

    asyncio.run(main())


async def test_a_faulty_job_fails_alone_and_the_ledger_goes_on(
    file: Path, request_of: Build
) -> None:
    def faulty(_tx: object) -> None:
        raise ValueError("a bug in a job")

    async with Store(file) as store:
        start, entry = request_of()
        outcomes = await asyncio.gather(
            store.begin(start),
            store._submit(WriteJob(faulty)),
            return_exceptions=True,
        )
        assert outcomes[0] is None
        assert isinstance(outcomes[1], StoreError)
        assert "ValueError" in str(outcomes[1])
        await store.close(entry)
        assert [one.entry_id for one in store.entries()] == [entry.entry_id]
        assert store.verify().ok


async def test_a_budget_that_cannot_be_read_is_said_so(file: Path, request_of: Build) -> None:
    async with Store(file) as store:
        await store.budgets.set(Budget(scope="global", window="month", limit_usd=Decimal(5)))
    with sqlite3.connect(file) as tampered:
        tampered.execute("UPDATE budgets SET body = '{}'")
    tampered.close()
    async with Store(file) as store:
        with pytest.raises(StoreError, match="cannot be read"):
            await store.begin(request_of()[0])
