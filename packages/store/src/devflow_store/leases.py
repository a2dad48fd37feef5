"""Which processes are alive, and what becomes of the attempts of those that are not."""

from __future__ import annotations

from collections.abc import Iterator

from devflow_store.chain.records import Begun, decode_begun, encode
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import Job
from devflow_store.recorder import Alerts, Bookkeeping, lost_entry

_OWNER = "owners|ON CONFLICT (owner) DO UPDATE SET alive_until_us = excluded.alive_until_us"
_OWNER_COLUMNS = ("owner", "alive_until_us")
_DEAD = (
    "SELECT DISTINCT owner FROM open_attempts WHERE owner <> ? AND owner NOT IN "
    "(SELECT owner FROM owners WHERE alive_until_us > ?)"
)


class Owners:
    """Says that this process lives, and closes what dead ones left open.

    A process that is only slow loses nothing: its own close then replaces what was written for it.

    Args:
        owner: the id of this process.
        books: what writes entries.
        lease_s: how long a process counts as alive after its last sign.
    """

    def __init__(self, owner: str, books: Bookkeeping, *, lease_s: float) -> None:
        self._owner = owner
        self._books = books
        self._lease_us = round(lease_s * 1e6)

    def tick(self, *, is_leaving: bool = False) -> Job[Alerts]:
        """Renew this process's lease, and write off the attempts of dead processes.

        Args:
            is_leaving: the lease ends now; what is still open is then anyone's to close.
        """

        def run(tx: Transaction) -> Alerts:
            until_us = 0 if is_leaving else tx.now_us + self._lease_us
            tx.insert(_OWNER, _OWNER_COLUMNS, (self._owner, until_us))
            tx.execute("DELETE FROM owners WHERE alive_until_us < ?", (tx.now_us,))
            alerts: Alerts = ()
            for begun in self._abandoned(tx):
                entry = lost_entry(begun)
                alerts += self._books.write(tx, entry, encode(entry))
            return alerts

        return Job(run)

    def _abandoned(self, tx: Transaction) -> Iterator[list[Begun]]:
        """The starts of each request whose owner is dead, in the order they were made."""
        for (owner,) in tx.execute(_DEAD, (self._owner, tx.now_us)):
            rows = tx.execute(
                "SELECT a.entry_id, c.body FROM open_attempts a JOIN chain c ON c.seq = a.seq "
                "WHERE a.owner = ? ORDER BY a.seq",
                (owner,),
            )
            by_entry: dict[str, list[Begun]] = {}
            for entry_id, body in rows:
                by_entry.setdefault(entry_id, []).append(decode_begun(body))
            yield from by_entry.values()
