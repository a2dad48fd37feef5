"""Restores a backup in place of the ledger, by copying its rows into tables of our own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from devflow_core.errors import StoreError

from devflow_store.budgets.repository import count_spent
from devflow_store.database.engine import Session, SqlValue
from devflow_store.database.insert import Insert
from devflow_store.database.schema import SCHEMA_VERSION, create_tables, migrate, read_version
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.engines.sqlite_schema import find_foreign_object, list_columns
from devflow_store.integrity.backup import (
    corruption_error,
    move_into_place,
    set_aside,
    verify_copy,
)

_NOT_COPIED = frozenset({"store_schema", "owners", "holds", "accounts", "idempotency"})
"""Tables that are not copied.

The schema's version, what belongs to processes that have ended, budget accounts (counted again),
and stored replies, which the chain does not cover.
"""
_MAX_ROWS_PER_STATEMENT = 64


def restore(backup: Path, path: Path) -> Path | None:
    """Put a verified backup in place of a ledger; the old files are kept beside it.

    Only rows are taken from the backup, column by column: a foreign trigger, view or table is
    refused, and so are client keys, budgets and nodes that differ from the chain. What budgets have
    spent is counted again from the calls; stored replies to idempotency keys are not copied. No
    process may have the ledger open.

    Args:
        backup: made by `Store.backup`.
        path: the ledger's file.

    Returns:
        The old file's new path; None if there was none.

    Raises:
        LedgerCorrupt: the backup does not verify or has foreign objects; nothing was changed.
        StoreError: a file cannot be read or written.
    """
    draft = path.with_name(f"{path.name}.restoring")
    draft.unlink(missing_ok=True)
    try:
        _build(backup, SqliteEngine(draft))
        aside = set_aside(path)
        move_into_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return aside


def _build(backup: Path, engine: SqliteEngine) -> None:
    """Build the draft from the rows of a backup, and verify it.

    Raises:
        LedgerCorrupt, StoreError: as `restore`.
    """
    # the user named it, so a link to the newest backup is followed
    source = SqliteEngine(backup.resolve()).open_reader()
    try:
        version = _check_schema(source, backup)
        engine.create_file()
        draft = engine.open_without_wal()
        try:
            draft.begin()
            create_tables(draft, version, engine.dialect)
            for table, columns in list_columns(version).items():
                if table not in _NOT_COPIED:
                    _copy_rows(source, draft, table, columns)
            draft.commit()
            migrate(draft, engine.dialect)
            verify_copy(draft, backup)
            draft.begin()
            count_spent(draft, datetime.now(UTC))
            draft.commit()
        finally:
            draft.close()
    finally:
        source.close()


def _check_schema(source: Session, backup: Path) -> int:
    version = read_version(source, "sqlite")
    if not 0 < version <= SCHEMA_VERSION:
        raise StoreError(
            f"{backup} holds no ledger that this version can read (schema {version}, this one knows"
            f" {SCHEMA_VERSION}). Nothing was changed."
        )
    if foreign := find_foreign_object(source, version):
        raise corruption_error(backup, foreign)
    return version


def _copy_rows(source: Session, draft: Session, table: str, columns: tuple[str, ...]) -> None:
    names = ", ".join(columns)
    into = Insert(table, columns)
    rows = iter(source.stream(f"SELECT {names} FROM {table}"))  # noqa: S608 - names of our own schema
    for chunk in _chunks(rows):
        draft.execute(into.sql(len(chunk)), [value for one in chunk for value in one])


def _chunks(rows: Iterator[tuple[SqlValue, ...]]) -> Iterator[list[tuple[SqlValue, ...]]]:
    while chunk := list(islice(rows, _MAX_ROWS_PER_STATEMENT)):
        yield chunk
