"""Checks that client keys, budgets and nodes are as the chain records them.

Each change of them is a row of the chain. Replayed to its end, the chain gives what the tables must
contain; a row that was added, widened or revived by other means is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from devflow_store.database.engine import Session

KEY_COLUMNS: tuple[str, ...] = (
    "id",
    "name",
    "prefix",
    "scopes",
    "created_us",
    "expires_us",
    "hash",
)
"""The columns decided by the creator of a client key; `hash` is hex in the chain."""
_FIRST_VERSION_WITH_KEYS = 2
"""The first schema version with client keys."""
_Row = tuple[Any, ...]


def seal_key(row: Mapping[str, Any]) -> bytes:
    """Return the body of the chain row for a new client key.

    Args:
        row: a value for each of `KEY_COLUMNS`.
    """
    sealed = [row[name].hex() if name == "hash" else row[name] for name in KEY_COLUMNS]
    return orjson.dumps(
        {"client_key": row["id"], "name": row["name"], "created": True, "sealed": sealed}
    )


class SettingsSeal:
    """Replays the changes recorded in a chain, then compares the tables with the result."""

    def __init__(self) -> None:
        self._keys: dict[str, _Row | None] = {}
        """The keys by id; None for one made by a version that did not seal its scopes."""
        self._revoked: dict[str, int] = {}
        self._budgets: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        self._changed_in: dict[str, int] = {}

    def follow(self, seq: int, at_us: int, body: bytes) -> None:
        """Apply the next change, in the order of the chain.

        Args:
            seq: the number of its row.
            at_us: when it was made, in microseconds since 1970.
            body: the body of its row, as JSON.
        """
        change: dict[str, Any] = orjson.loads(body)
        if "client_key" in change:
            self._follow_key(change["client_key"], change, at_us)
            self._changed_in[f"client key {change['client_key']}"] = seq
        elif "budget" in change:
            name = change["budget"]
            self._budgets.pop(name, None)
            if "set" in change:
                self._budgets[name] = change["set"]
            self._changed_in[f"budget {name}"] = seq
        elif "node" in change:
            name = change["node"]
            self._nodes.pop(name, None)
            if change["config"] is not None:
                self._nodes[name] = change["config"]
            self._changed_in[f"node {name}"] = seq

    def find_difference(self, session: Session) -> tuple[str, int] | None:
        """Return the first difference between the tables and the changes applied; None without any.

        Returns:
            What differs, as a clause, and the number of the row that changed it last, or 0.
        """
        budgets = dict(_read(session, "SELECT id, body FROM budgets"))
        if fault := self._compare("budget", self._budgets, budgets):
            return fault
        if session.execute("SELECT version FROM store_schema")[0][0] < _FIRST_VERSION_WITH_KEYS:
            return None
        nodes = dict(_read(session, "SELECT task_name, config FROM nodes"))
        return self._compare("node", self._nodes, nodes) or self._find_key_difference(session)

    def _follow_key(self, key_id: str, change: Mapping[str, Any], at_us: int) -> None:
        if "sealed" in change:
            self._keys[key_id] = tuple(change["sealed"])  # also of a key that was made long ago
        elif change.get("created"):
            self._keys[key_id] = None
        elif change.get("revoked"):
            self._revoked[key_id] = at_us

    def _find_key_difference(self, session: Session) -> tuple[str, int] | None:
        columns = ", ".join(KEY_COLUMNS)
        rows = session.execute(f"SELECT {columns}, revoked_us FROM client_keys")  # noqa: S608 - constants
        found: dict[str, _Row] = {row[0]: row for row in rows}
        for key_id in self._keys | found:
            what = f"client key {key_id}"
            if key_id not in found or key_id not in self._keys:
                return self._describe(what)
            *row, key_hash, revoked_us = found[key_id]
            sealed = self._keys[key_id]
            if sealed is not None and sealed != (*row, bytes(key_hash).hex()):
                return self._describe(what)
            if revoked_us != self._revoked.get(key_id):
                return self._describe(what)
        return None

    def _compare(
        self, kind: str, expected: dict[str, str], found: dict[str, str]
    ) -> tuple[str, int] | None:
        for name in expected | found:
            if expected.get(name) != found.get(name):
                return self._describe(f"{kind} {name}")
        return None

    def _describe(self, what: str) -> tuple[str, int]:
        return f"the {what} is not as the chain says", self._changed_in.get(what, 0)


def _read(session: Session, query: str) -> Iterator[tuple[str, str]]:
    yield from session.execute(query)
