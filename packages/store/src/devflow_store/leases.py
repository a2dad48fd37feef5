"""Which processes are alive, and what becomes of the attempts of those that are not."""

from __future__ import annotations

from collections.abc import Iterator

from devflow_store.chain.records import StartRecord, decode_start, encode_record
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.recorder import Alerts, EntryRecorder, build_lost_entry

_OWNERS_UPSERT = "owners|ON CONFLICT (owner) DO UPDATE SET alive_until_us = excluded.alive_until_us"
_OWNER_COLUMNS = ("owner", "alive_until_us")
_DEAD_OWNERS = (
    "SELECT DISTINCT owner FROM open_attempts WHERE owner <> ? AND owner NOT IN "
    "(SELECT owner FROM owners WHERE alive_until_us > ?)"
)


class ProcessLeases:
    """Says that this process lives, and closes what dead ones left open.

    A process that is only slow loses nothing: its own close then replaces what was written for it.

    Args:
        owner: the id of this process.
        recorder: writes the entries of dead processes.
        lease_s: how long a process counts as alive after its last sign.
    """

    def __init__(self, owner: str, recorder: EntryRecorder, *, lease_s: float) -> None:
        self._owner = owner
        self._recorder = recorder
        self._lease_us = round(lease_s * 1e6)

    def renew(self, *, is_leaving: bool = False) -> WriteJob[Alerts]:
        """Renew this process's lease, and write off the attempts of dead processes.

        Args:
            is_leaving: the lease ends now; what is still open is then anyone's to close.
        """

        def run(tx: Transaction) -> Alerts:
            until_us = 0 if is_leaving else tx.now_us + self._lease_us
            tx.insert(_OWNERS_UPSERT, _OWNER_COLUMNS, (self._owner, until_us))
            tx.execute("DELETE FROM owners WHERE alive_until_us < ?", (tx.now_us,))
            alerts: Alerts = ()
            for starts in self._read_abandoned(tx):
                entry = build_lost_entry(starts)
                alerts += self._recorder.write_entry(tx, entry, encode_record(entry))
            return alerts

        return WriteJob(run)

    def _read_abandoned(self, tx: Transaction) -> Iterator[list[StartRecord]]:
        """The starts of each request whose owner is dead, in the order they were made."""
        for (owner,) in tx.execute(_DEAD_OWNERS, (self._owner, tx.now_us)):
            rows = tx.execute(
                "SELECT a.entry_id, c.body FROM open_attempts a JOIN chain c ON c.seq = a.seq "
                "WHERE a.owner = ? ORDER BY a.seq",
                (owner,),
            )
            by_entry: dict[str, list[StartRecord]] = {}
            for entry_id, body in rows:
                by_entry.setdefault(entry_id, []).append(decode_start(body))
            yield from by_entry.values()
