"""Damage is named and never overwritten, backups are whole, upgrades happen fully or not at all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from devflow_core.errors import InvalidRequest, LedgerCorrupt, StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store, restore
from devflow_store.database.schema import SCHEMA_VERSION, load_statements, read_version
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.engines.sqlite_session import SqliteSession

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


def _write(file: Path, requests: list[tuple[AttemptStart, LedgerEntry]]) -> None:
    async def main() -> None:
        async with Store(file) as store:
            for start, entry in requests:
                await store.begin(start)
                await store.close(entry)

    asyncio.run(main())


def _enter(file: Path) -> None:
    async def main() -> None:
        async with Store(file):
            pass

    asyncio.run(main())


def _garble(file: Path, at: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(at)
        handle.write(b"\xff" * 600)


@pytest.mark.parametrize("at", [0, 4096 * 8])
def test_a_damaged_file_is_kept_and_the_way_back_is_named(
    file: Path, request_of: Build, at: int
) -> None:
    _write(file, [request_of(number) for number in range(200)])
    _garble(file, at)
    damaged = file.read_bytes()
    with pytest.raises(LedgerCorrupt, match="devflow ledger restore"):
        _enter(file)
    assert file.read_bytes() == damaged


def test_what_is_no_ledger_is_not_overwritten(file: Path) -> None:
    file.write_bytes(b"my novel, chapter one" * 1000)
    with pytest.raises(LedgerCorrupt):
        _enter(file)
    assert file.read_bytes().startswith(b"my novel")


def test_a_log_that_was_taken_away_is_noticed(
    file: Path, tmp_path: Path, request_of: Build
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()

    async def main() -> None:
        async with Store(file) as store:
            await store.begin(request_of(1)[0])
            shutil.copy(file, taken / file.name)
            shutil.copy(f"{file}.head", taken / f"{file.name}.head")

    asyncio.run(main())
    with pytest.raises(LedgerCorrupt, match="missing"):
        _enter(taken / file.name)


def test_a_touched_last_row_is_seen_at_the_start(file: Path, request_of: Build) -> None:
    _write(file, [request_of(number) for number in range(3)])
    session = SqliteEngine(file).open_writer()
    session.execute("UPDATE chain SET at_us = at_us + 1 WHERE seq = 6")
    session.close()
    with pytest.raises(LedgerCorrupt, match="row 6"):
        _enter(file)


@pytest.mark.parametrize(
    "touch",
    [
        "UPDATE calls SET cost_pico = cost_pico + 1 WHERE seq = 4",
        "UPDATE calls SET output_tokens = 0 WHERE seq = 4",
        "UPDATE calls SET labels = 7 WHERE seq = 4",
        "DELETE FROM calls WHERE seq = 4",
    ],
)
def test_a_touched_row_of_the_reports_table_is_named(
    file: Path, request_of: Build, touch: str
) -> None:
    _write(file, [request_of(number) for number in range(3)])
    assert Store(file).verify().ok
    session = SqliteEngine(file).open_writer()
    session.execute(touch)
    session.close()
    found = Store(file).verify()
    assert (found.ok, found.first_bad) == (False, 4)


def test_a_backup_is_whole_and_brings_everything_back(file: Path, request_of: Build) -> None:
    requests = [request_of(number) for number in range(20)]
    target = file.with_name("backup.db")

    async def main() -> None:
        async with Store(file) as store:
            for start, entry in requests:
                await store.begin(start)
                await store.close(entry)
            await store.backup(target)
            with pytest.raises(InvalidRequest, match="already"):
                await store.backup(target)
            await store.begin(request_of(99)[0])

    asyncio.run(main())
    _garble(file, 0)
    aside = restore(target, file)
    assert aside is not None
    assert aside.exists()
    _enter(file)
    assert list(Store(file).entries()) == [entry for _start, entry in requests]


def test_a_damaged_backup_restores_nothing(file: Path, request_of: Build) -> None:
    _write(file, [request_of(number) for number in range(200)])
    backup = file.with_name("backup.db")
    asyncio.run(_backup(file, backup))
    _garble(backup, 4096 * 8)
    before = file.read_bytes()
    with pytest.raises(LedgerCorrupt):
        restore(backup, file)
    assert file.read_bytes() == before


async def _backup(file: Path, target: Path) -> None:
    async with Store(file) as store:
        await store.backup(target)


def test_a_postgresql_ledger_is_backed_up_by_its_own_tools(
    postgres_database: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with Store(postgres_database, data_dir=tmp_path) as store:
            with pytest.raises(InvalidRequest, match="pg_dump"):
                await store.backup(tmp_path / "backup")

    asyncio.run(main())


def _old_file(file: Path) -> None:
    """Create a file of the first schema."""
    session = SqliteEngine(file).open_without_wal()
    for statement in load_statements(1, "sqlite"):
        session.execute(statement)
    session.execute("UPDATE store_schema SET version = 1")
    session.close()


def test_an_upgrade_leaves_a_verified_backup(file: Path) -> None:
    _old_file(file)
    _enter(file)
    (backup,) = file.parent.glob("ledger.db.v1-*")
    old, new = SqliteEngine(backup).open_reader(), SqliteEngine(file).open_reader()
    assert (read_version(old, "sqlite"), read_version(new, "sqlite")) == (1, SCHEMA_VERSION)


def test_an_upgrade_that_breaks_off_changes_nothing(file: Path) -> None:
    for last in range(1, len(load_statements(2, "sqlite"))):
        file.unlink(missing_ok=True)
        _old_file(file)
        session = SqliteEngine(file).open_writer()
        session.begin()
        for statement in load_statements(2, "sqlite")[:last]:
            session.execute(statement)
        session.close()  # as a process that ends here
        _enter(file)
        assert read_version(SqliteEngine(file).open_reader(), "sqlite") == SCHEMA_VERSION


def test_a_ledger_of_a_newer_version_is_left_alone(file: Path) -> None:
    _enter(file)
    session = SqliteEngine(file).open_writer()
    session.execute("UPDATE store_schema SET version = 99")
    session.close()
    with pytest.raises(StoreError, match="newer DevFlow"):
        _enter(file)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be created"):
        _enter(tmp_path / "file" / "ledger.db")


def test_a_log_that_others_have_continued_is_not_put_back_over_theirs(file: Path) -> None:
    """One process puts a deleted log back, another writes to it, and it is deleted again."""
    engine, log = SqliteEngine(file), Path(f"{file}-wal")
    engine.prepare()
    first, second = engine.open_writer(), engine.open_writer()
    first.execute("CREATE TABLE notes (number)")
    second.look()
    _note(first, 1)
    log.unlink()
    with pytest.raises(StoreError):
        _note(first, 2)
    first.close()
    third = SqliteEngine(file).open_writer()
    _note(third, 3)
    log.unlink()
    second.begin()
    with pytest.raises(StoreError):
        second.look(is_ahead=True)
    assert not log.exists()  # what the second has open lacks the last row
    second.close()
    with pytest.raises(StoreError):
        third.look()
    third.close()
    fourth = SqliteEngine(file).open_writer()
    assert list(fourth.execute("SELECT number FROM notes")) == [(1,), (3,)]  # 2 was refused
    fourth.close()


def test_a_log_that_was_exchanged_before_the_first_write_is_not_taken_for_the_open_one(
    file: Path,
) -> None:
    """After a process has opened the log, it is deleted and put back before the first check."""
    SqliteEngine(file).prepare()
    first = SqliteEngine(file).open_writer()
    first.execute("CREATE TABLE notes (number)")
    _note(first, 1)
    second = SqliteEngine(file).open_writer()
    Path(f"{file}-wal").unlink()
    with pytest.raises(StoreError):
        _note(first, 2)
    first.close()
    assert Path(f"{file}-wal").stat().st_size  # put back
    with pytest.raises(StoreError, match="taken the place"):
        _note(second, 3)
    second.close()
    third = SqliteEngine(file).open_writer()
    assert list(third.execute("SELECT number FROM notes")) == [(1,)]
    third.close()


def test_an_index_that_was_exchanged_before_the_first_write_is_not_taken_for_the_open_one(
    file: Path,
) -> None:
    SqliteEngine(file).prepare()
    session = SqliteEngine(file).open_writer()
    session.execute("CREATE TABLE notes (number)")
    index = Path(f"{file}-shm")
    other = index.rename(index.with_suffix(".other"))
    index.write_bytes(other.read_bytes())
    with pytest.raises(StoreError, match="taken the place"):
        _note(session, 1)
    session.close()


def _note(session: SqliteSession, number: int) -> None:
    session.begin()
    session.look(is_ahead=True)
    session.execute("INSERT INTO notes VALUES (?)", (number,))
    session.commit()
    session.look()
