"""Reads the entries that show how an upstream behaves; a stand-in's do not count for another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from devflow_core.addresses import LOOPBACK_UPSTREAM
from devflow_core.ledger import LedgerEntry
from devflow_core.settings import Settings

from devflow_store.chain.origin import SANDBOX_KEY_ID
from devflow_store.store import Store

MAX_LATEST = 2_000
"""The latest requests that a start reads, in a tenth of a second: many more than a figure needs."""


def read_latest_measured(book: Store, settings: Settings, back: timedelta) -> Iterator[LedgerEntry]:
    """Yield the same as `read_measured`, of the latest `MAX_LATEST` requests only."""
    return _choose_measured(
        book, settings, lambda since: book.latest(MAX_LATEST, since=since), back
    )


def read_measured(book: Store, settings: Settings, back: timedelta) -> Iterator[LedgerEntry]:
    """Yield recent entries that say how the settings' upstream behaves.

    A stand-in answers as fast as it is read, so its calls would make models look fast that are not.

    Args:
        book: the ledger; it need not be entered.
        settings: name the upstream.
        back: how far back, from now.

    Yields:
        Entries in the order they were written; none from a ledger of another upstream, and none of
        the stand-in's that an older ledger holds beside real ones.

    Raises:
        StoreError: the ledger cannot be read.
    """
    return _choose_measured(book, settings, book.entries, back)


def _choose_measured(
    book: Store,
    settings: Settings,
    read: Callable[[datetime], Iterable[LedgerEntry]],
    back: timedelta,
) -> Iterator[LedgerEntry]:
    if book.origin.read() not in (None, settings.upstream):
        return
    is_loopback = settings.upstream == LOOPBACK_UPSTREAM
    for entry in read(datetime.now(UTC) - back):
        if is_loopback or all(one.key_id != SANDBOX_KEY_ID for one in entry.attempts):
            yield entry
