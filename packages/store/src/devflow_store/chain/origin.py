"""Notes which upstream the ledger's calls went to, and keeps those to another one out.

The note is a row of the chain, so backups carry it, `verify` covers it, and no table is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from devflow_core.addresses import LOOPBACK_UPSTREAM
from devflow_core.errors import ConfigurationError

from devflow_store.chain.records import RowKind, decode_start
from devflow_store.chain.transaction import Transaction
from devflow_store.database.engine import Rows, SqlValue

SANDBOX_KEY_ID = "9ad2e2f7ee1b"
"""The fingerprint of `devflow sandbox`'s key, which marks its calls in ledgers without a note."""
ELSEWHERE = "another upstream"
"""Stands for the upstream of a ledger without a note whose rows show only that it is not ours."""
MAX_KEYS_READ = 100
"""The most calls of a ledger without a note whose keys are looked at, the latest first."""
Execute = Callable[[str, Sequence[SqlValue]], Rows]
"""Runs a statement; `Transaction.execute` and `Session.execute`."""


class OtherUpstream(ConfigurationError):
    """A call to one upstream would be booked in the ledger of another; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOrigin:
    """The upstream that this process calls."""

    name: str
    """As from `Settings.upstream`."""
    key_ids: frozenset[str] = frozenset()
    """The fingerprints of its keys, by which earlier calls are recognised."""

    def refuse_other(self, noted: str) -> None:
        """Refuse a ledger of another upstream.

        Raises:
            OtherUpstream: the two differ; the message says what to do.
        """
        if noted == self.name:
            return
        raise OtherUpstream(
            f"This ledger holds calls to {describe_upstream(noted)}; the settings name "
            f"{describe_upstream(self.name)} (the setting base_url). They are not mixed, "
            "since reports, speeds and the bill would be wrong. Give these calls a folder of their "
            "own with --data-dir (DEVFLOW_DATA_DIR; for PostgreSQL a database of their own), or set"
            " the base URL back. If it is the same account at a new address, run `devflow ledger "
            "upstream --accept`."
        )


def describe_upstream(name: str) -> str:
    """Return an upstream's name for people."""
    if name == LOOPBACK_UPSTREAM:
        return "a server on this machine, such as `devflow sandbox`"
    return name


def read_origin(execute: Execute) -> str | None:
    """Return the upstream noted last; None without a note."""
    noted = [body for body in _read_notes(execute) if body is not None]
    return str(orjson.loads(noted[-1])["upstream"]) if noted else None


def find_origin(execute: Execute, ours: LedgerOrigin) -> str:
    """Return the upstream of a ledger, inferred from its rows if it has no note.

    Ledgers of earlier versions have none. Such a ledger is taken for our own upstream's, unless all
    its latest calls were made with the stand-in's key, or we call this machine and some were made
    with a key that is neither ours nor the stand-in's.
    """
    noted = read_origin(execute)
    if noted is not None:
        return noted
    found = _read_key_ids(execute)
    if found == frozenset({SANDBOX_KEY_ID}):
        return LOOPBACK_UPSTREAM
    if ours.name == LOOPBACK_UPSTREAM and found - ours.key_ids - {SANDBOX_KEY_ID}:
        return ELSEWHERE
    return ours.name


def append_note(tx: Transaction, name: str) -> None:
    """Note an upstream as the one of all calls from now on."""
    number = sum(1 for _ in _read_notes(tx.execute))
    tx.append(RowKind.CHANGE, _note_key(number), orjson.dumps({"upstream": name}))


class OriginGuard:
    """Lets the calls of one upstream into a ledger, and notes it with the first of them.

    Args:
        origin: None admits every call, and notes nothing.
    """

    def __init__(self, origin: LedgerOrigin | None) -> None:
        self._origin = origin
        self.is_noted = origin is None
        """Whether the ledger is known to be our upstream's, so that nothing is left to do."""
        self._noted_in: Transaction | None = None
        """The transaction that holds our note; it may fail to be committed."""

    def check(self, tx: Transaction) -> None:
        """Refuse a call that belongs in another ledger.

        Raises:
            OtherUpstream: the ledger is another upstream's; nothing was written.
        """
        if self._origin is None or self._noted_in is tx:
            return
        tx.flush()
        self._origin.refuse_other(find_origin(tx.execute, self._origin))

    def note(self, tx: Transaction) -> None:
        """Note the upstream, unless it is noted already."""
        if self._origin is None or self._noted_in is tx:
            return
        if read_origin(tx.execute) is None:
            append_note(tx, self._origin.name)
            self._noted_in = tx
        else:
            self.is_noted, self._noted_in = True, None


def _read_notes(execute: Execute) -> list[bytes | None]:
    """Return the bodies of all notes; there is rarely more than one."""
    found: list[bytes | None] = []
    while rows := execute("SELECT body FROM chain WHERE key = ?", (_note_key(len(found)),)):
        found.append(rows[0][0])
    return found


def _note_key(number: int) -> str:
    return f"upstream/{number}"


def _read_key_ids(execute: Execute) -> frozenset[str]:
    rows = execute(
        "SELECT body FROM chain WHERE kind = ? AND body IS NOT NULL ORDER BY seq DESC LIMIT ?",
        (RowKind.START, MAX_KEYS_READ),
    )
    ids = (decode_start(bytes(body)).start.key_id for (body,) in rows)
    return frozenset(one for one in ids if one is not None)
