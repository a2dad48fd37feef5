"""Checks that an SQLite file contains exactly what our migrations created.

A foreign trigger or view would run, or answer, within our own statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import apsw

from devflow_store.database.engine import Session
from devflow_store.database.schema import load_statements

_OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
"""Selects all objects but the indexes that SQLite creates implicitly."""


def find_foreign_object(session: Session, version: int) -> str | None:
    """Return what the file contains besides our tables, or which of them it lacks; None if neither.

    Args:
        session: a session on the file.
        version: the schema version that the file names.

    Returns:
        A clause for an error message, such as "it holds a trigger 'x' that DevFlow did not make".
    """
    expected, found = _load_objects(version), set(session.execute(_OBJECTS))
    for kind, name, _sql in sorted(found - expected):
        return f"it holds a {kind} {name!r} that DevFlow did not make"
    for kind, name, _sql in sorted(expected - found):
        return f"its {kind} {name!r} is missing"
    return None


def list_columns(version: int) -> Mapping[str, tuple[str, ...]]:
    """Return the columns of each of our tables in a schema of this version, by the table's name."""
    execute = _build_schema(version)
    names = sorted(name for kind, name, _sql in _load_objects(version) if kind == "table")
    return {name: tuple(row[1] for row in execute(f"PRAGMA table_info({name})")) for name in names}


@lru_cache(maxsize=8)
def _load_objects(version: int) -> frozenset[tuple[Any, ...]]:
    return frozenset(_build_schema(version)(_OBJECTS))


def _build_schema(version: int) -> Callable[[str], Iterable[tuple[Any, ...]]]:
    """Return a function that runs statements in an in-memory database of this version."""
    # apsw's stub names `collections.abc.Buffer`, which Python 3.11 lacks
    execute = apsw.Connection(":memory:").execute  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    for number in range(1, version + 1):
        for statement in load_statements(number, "sqlite"):
            execute(statement)
    return execute  # pyright: ignore[reportUnknownVariableType]
