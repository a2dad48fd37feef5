"""Builds INSERT statements for rows of one kind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    """The shape of rows for a table; made once as a module's constant and compared by identity.

    All names must be those of our own schema: they are put into the statement unescaped.
    """

    table: str
    columns: tuple[str, ...]
    """The columns that a row has values for, in this order."""
    key: tuple[str, ...] = ()
    """Columns that may conflict with an existing row; without them a conflict is an error."""
    replaced: tuple[str, ...] = ()
    """Columns that get the new row's values on a conflict; without them the old row is kept."""

    @lru_cache(maxsize=64)  # noqa: B019 - constants live as long as the process
    def sql(self, rows: int = 1) -> str:
        """Return the statement for `rows` rows, with a `?` for each value."""
        names = ", ".join(self.columns)
        places = ", ".join([f"({', '.join('?' * len(self.columns))})"] * rows)
        return f"INSERT INTO {self.table} ({names}) VALUES {places}{self._conflict()}"  # noqa: S608

    def _conflict(self) -> str:
        if not self.key:
            return ""
        changes = ", ".join(f"{name} = excluded.{name}" for name in self.replaced)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        return f" ON CONFLICT ({', '.join(self.key)}) DO {action}"
