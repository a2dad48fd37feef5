"""Applies the tables' numbered migrations, each completely or not at all."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from devflow_core.errors import StoreError

from devflow_store.database.engine import Session

_MIGRATIONS = resources.files("devflow_store.database") / "migrations"
SCHEMA_VERSION = max(int(one.name[:4]) for one in _MIGRATIONS.iterdir() if one.name[:4].isdigit())
"""The schema version of this code: the number of the last migration."""

_TYPE_NAMES = {
    "sqlite": {
        "BYTES": "BLOB",
        "INT": "INTEGER",
        "CLUSTERED": "STRICT, WITHOUT ROWID",
        "STRICT": "STRICT",
    },
    "postgresql": {"BYTES": "BYTEA", "INT": "BIGINT", "CLUSTERED": "", "STRICT": ""},
}

_MADE = re.compile(r"CREATE TABLE (\w+)")


def migrate(session: Session, dialect: str) -> None:
    """Upgrade the tables to `SCHEMA_VERSION`, in one transaction.

    Raises:
        StoreError: the tables are newer than this code, or cannot be changed.
    """
    if read_version(session, dialect) == SCHEMA_VERSION:
        return
    session.begin()
    try:
        found = read_version(session, dialect)
        if found > SCHEMA_VERSION:
            raise StoreError(
                f"The ledger was written by a newer DevFlow (schema {found}, this one knows "
                f"{SCHEMA_VERSION}). Upgrade DevFlow; nothing was changed."
            )
        create_tables(session, SCHEMA_VERSION, dialect, since=found)
        session.commit()
    finally:
        session.rollback()


def create_tables(session: Session, version: int, dialect: str, *, since: int = 0) -> None:
    """Apply the migrations after `since` up to `version`, within the caller's transaction."""
    for number in range(since + 1, version + 1):
        for statement in load_statements(number, dialect):
            session.execute(statement)
    session.execute("UPDATE store_schema SET version = ?", (version,))


def read_version(session: Session, dialect: str) -> int:
    """Return the schema version of the existing tables; 0 without tables."""
    catalogue = {
        "sqlite": "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'store_schema'",
        # not to_regclass(): it may answer from a cache that is older than our lock
        "postgresql": "SELECT 1 FROM pg_tables WHERE tablename = 'store_schema' "
        "AND schemaname = ANY (current_schemas(false))",
    }
    if not session.execute(catalogue[dialect]):
        return 0
    return int(session.execute("SELECT version FROM store_schema")[0][0])


def require_tables(session: Session) -> None:
    """Check that all our tables exist, by a query that returns no rows.

    Raises:
        LedgerUnavailable: a table is gone.
    """
    session.execute(_build_question())


@lru_cache(maxsize=1)
def _build_question() -> str:
    tables = set[str]()
    for number in range(1, SCHEMA_VERSION + 1):
        for statement in load_statements(number, "sqlite"):
            if made := _MADE.match(statement):
                tables.add(made[1])
    # names of tables are constants of this package
    return " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE 1 = 0" for table in sorted(tables))  # noqa: S608


def load_statements(number: int, dialect: str) -> list[str]:
    """Return the statements of one migration, in the SQL of `sqlite` or `postgresql`."""
    text = (_MIGRATIONS / f"{number:04}.sql").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    script = "\n".join(lines)
    for word, meaning in _TYPE_NAMES[dialect].items():
        script = script.replace(f"${word}", meaning)
    return [statement for part in script.split(";") if (statement := part.strip())]
