"""How rows of one kind get into a table, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    """Rows for a table. Made once, as a constant of a module, and told apart by identity.

    All names are those of our own schema: they go into the statement as they are.
    """

    table: str
    columns: tuple[str, ...]
    """What a row has values for, in this order."""
    key: tuple[str, ...] = ()
    """Columns in which a row may be there already; without them that is an error."""
    replaced: tuple[str, ...] = ()
    """Columns that then take the new row's values; without them the old row stays as it is."""

    @lru_cache(maxsize=64)  # noqa: B019 - constants live as long as the process
    def sql(self, rows: int = 1) -> str:
        """The statement for so many rows, with a `?` for each value."""
        names = ", ".join(self.columns)
        places = ", ".join([f"({', '.join('?' * len(self.columns))})"] * rows)
        return f"INSERT INTO {self.table} ({names}) VALUES {places}{self._conflict()}"  # noqa: S608

    def _conflict(self) -> str:
        if not self.key:
            return ""
        changes = ", ".join(f"{name} = excluded.{name}" for name in self.replaced)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        return f" ON CONFLICT ({', '.join(self.key)}) DO {action}"
