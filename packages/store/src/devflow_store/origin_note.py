"""Reads and changes the note of which upstream a ledger's calls went to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from devflow_core.ids import key_id
from devflow_core.settings import Settings

from devflow_store.chain.origin import LedgerOrigin, append_note, find_origin, read_origin
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import Session


class OriginNote:
    """The note of a ledger's upstream; `Store.begin` itself refuses calls to another one.

    Args:
        submit: runs a job and waits until it is durable.
        open_reader: opens a reading session.
        origin: the upstream that this process calls; None: it may be any.
    """

    def __init__(
        self,
        submit: Callable[[WriteJob[Any]], Awaitable[Any]],
        open_reader: Callable[[], AbstractContextManager[Session]],
        origin: LedgerOrigin | None,
    ) -> None:
        self._submit = submit
        self._open_reader = open_reader
        self._origin = origin

    def read(self) -> str | None:
        """Return the upstream noted last; None without a note.

        Raises:
            StoreError: the ledger cannot be read.
        """
        with self._open_reader() as session:
            return read_origin(session.execute)

    def require(self) -> None:
        """Refuse early what `begin` would refuse.

        Raises:
            OtherUpstream: the ledger holds calls to another upstream.
            StoreError: the ledger cannot be read.
        """
        if self._origin is None:
            return
        with self._open_reader() as session:
            self._origin.refuse_other(find_origin(session.execute, self._origin))

    async def accept(self, name: str) -> None:
        """Note an upstream as this ledger's from now on, whatever was noted before.

        Raises:
            StoreError: the note could not be written.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            if read_origin(tx.execute) != name:
                append_note(tx, name)

        await self._submit(WriteJob(run))


def make_origin(settings: Settings) -> LedgerOrigin:
    """Return the upstream that the settings' calls go to, as their ledger notes it.

    Raises:
        ConfigurationError: the stored key cannot be read.
    """
    ids = frozenset(key_id(one) for one in settings.server_keys())
    return LedgerOrigin(name=settings.upstream, key_ids=ids)
