"""Reads a ledger: entries, sums, the state of budgets, and whether the chain is whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from devflow_core.dimensions import GroupBy
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.summary import Summary

from devflow_store.budgets.budget import BudgetState
from devflow_store.budgets.repository import read_budget_states
from devflow_store.chain.transaction import require_row
from devflow_store.database.engine import Engine, Session
from devflow_store.entries import aggregation, queries
from devflow_store.entries.export import ExportFormat, export_lines
from devflow_store.entries.queries import EntryFilter
from devflow_store.entries.requests import RequestFilter, RequestPage, find_requests
from devflow_store.integrity.verify import ChainVerification, verify


class ReadableLedger:
    """The reading side of a `Store`, which needs no entering.

    Its methods are synchronous, open a connection of their own, and may be called from any thread;
    each raises `StoreError` if the ledger cannot be read.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def entries(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        session_id: str | None = None,
        project: str | None = None,
    ) -> Iterator[LedgerEntry]:
        """Yield entries in the order they were written, with later corrections applied.

        Args:
            since: inclusive, by the time the request arrived; None: from the beginning.
            until: exclusive; None: until now.
            session_id: only of this session; None: of all.
            project: only of this project; None: of all.

        Raises:
            StoreError, LedgerCorrupt: the ledger cannot be read.
        """
        chosen = EntryFilter(since=since, until=until, session_id=session_id, project=project)
        with self._open_reader() as session:
            yield from queries.read_entries(session, chosen)

    def entry(self, entry_id: str) -> LedgerEntry | None:
        """Return one entry with later corrections applied; None if it is unknown or was erased.

        Raises:
            StoreError, LedgerCorrupt: the ledger cannot be read.
        """
        with self._open_reader() as session:
            return queries.read_entry(session, entry_id)

    def latest(self, limit: int, *, since: datetime) -> list[LedgerEntry]:
        """Return the latest entries that arrived since a time, at most `limit`, oldest first."""
        with self._open_reader() as session:
            return queries.read_latest(session, since, limit)

    def requests(
        self, chosen: RequestFilter | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> RequestPage:
        """Return a page of requests, newest first, with later corrections applied.

        Args:
            chosen: which requests; None: all.
            limit: the most requests of the page, up to 1,000.
            cursor: as of the page before; None: the first page.

        Raises:
            InvalidRequest: the limit is out of range, or the cursor is not one of a page.
            StoreError: the ledger cannot be read.
        """
        with self._open_reader() as session:
            return find_requests(session, chosen or RequestFilter(), limit=limit, cursor=cursor)

    def unconfirmed(self, limit: int = 100) -> list[tuple[LedgerEntry, Attempt]]:
        """Return up to `limit` attempts of estimated cost, each with its entry, oldest first."""
        with self._open_reader() as session:
            return queries.read_unconfirmed(session, limit)

    def latest_start(self) -> datetime | None:
        """Return when the latest attempt began, in UTC; None without any."""
        with self._open_reader() as session:
            return queries.read_latest_start(session)

    def under_way_since(self) -> datetime | None:
        """Return when the oldest attempt of any open request began, in UTC; None without any."""
        with self._open_reader() as session:
            return queries.read_under_way_since(session)

    def running(self, limit: int = 100) -> list[AttemptStart]:
        """Return each open request's latest attempt, oldest first, from at most `limit` of them."""
        with self._open_reader() as session:
            return queries.read_running(session, limit)

    def aggregate(
        self,
        by: tuple[GroupBy, ...],
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_times: bool = True,
    ) -> dict[tuple[str, ...], Summary]:
        """Return sums for each combination of `by`; a key has its values in the order of `by`.

        Args:
            by: the groupings; a value that is unknown is "".
            since: inclusive, by the time an attempt began; None: from the beginning.
            until: exclusive; None: until now.
            with_times: whether to fill the histograms; leaving them empty saves half of the time.

        Raises:
            InvalidRequest: `by` is empty, or there is no such grouping.
            StoreError: the ledger cannot be read.
        """
        with self._open_reader() as session:
            return aggregation.aggregate(session, by, (since, until), with_times=with_times)

    def groups(
        self, by: GroupBy, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, Summary]:
        """Return sums for each value of `by`; `since` is inclusive, `until` exclusive."""
        return {key: one for (key,), one in self.aggregate((by,), since=since, until=until).items()}

    def budget_states(self, now: datetime | None = None) -> list[BudgetState]:
        """Return every budget with its state in the window of `now`; None means the present."""
        with self._open_reader() as session:
            return list(read_budget_states(session, now or datetime.now(UTC)))

    def verify(self, anchor: str | None = None) -> ChainVerification:
        """Recompute the chain, compare the tables derived from it, and name the first wrong row.

        Args:
            anchor: a `head` noted earlier, which the chain must still contain; None: the one that
                every commit notes beside the ledger.

        Raises:
            StoreError: the ledger cannot be read.
        """
        anchor = anchor or self._engine.noted_head()
        session = self._engine.open_reader()
        try:
            session.freeze()  # or a request between two looks would be taken for a difference
            return verify(session, anchor=anchor)
        finally:
            session.close()

    def export(
        self,
        export_format: ExportFormat = "jsonl",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        session_id: str | None = None,
    ) -> Iterator[str]:
        """Yield `entries` as lines: `jsonl` has everything, `csv` a row for each attempt."""
        return export_lines(self.entries(since, until, session_id), export_format)

    @contextmanager
    def _open_reader(self) -> Generator[Session]:
        noted, session = self._engine.noted_head(), self._engine.open_reader()
        try:
            require_row(session, noted)
            yield session
        finally:
            session.close()
