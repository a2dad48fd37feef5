"""Erases on request: labels and details are deleted, amounts stay, and the chain still verifies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import orjson
from devflow_core.attribution import Attribution
from pydantic import BaseModel, ConfigDict, TypeAdapter

from devflow_store.chain.hashing import hash_body
from devflow_store.chain.records import RowKind, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import Session
from devflow_store.entries.call_rows import LABEL_ROWS, LABELS, PERSONAL_LABELS, label_id
from devflow_store.entries.day_sums import relabel


class _LabelledBody(BaseModel):
    """The parts of a body that may contain the session's id."""

    model_config = ConfigDict(extra="ignore")
    attribution: Attribution | None = None
    start: _LabelledBody | None = None

    @property
    def session_id(self) -> str | None:
        attribution = self.start.attribution if self.start else self.attribution
        return attribution.session_id if attribution else None


_BODY_ADAPTER = TypeAdapter(_LabelledBody)
_LABEL_COLUMNS = ", ".join(LABELS)


def find_rows(session: Session, *, session_id: str | None, before: datetime | None) -> list[int]:
    """Return the numbers of all rows that belong to a session, or are older than a time.

    Reads the whole chain, since the body of any row may contain the label. Rows of attempts in
    flight are left out.

    Args:
        session: a reading connection.
        session_id: rows of this session; None: of all.
        before: rows whose subject began before this time; None: all.
    """
    until_us = to_us(before) if before else 2**62  # beyond every date
    rows = session.stream(
        "SELECT seq, ref, body FROM chain WHERE kind <= ? AND body IS NOT NULL AND at_us < ? "
        "ORDER BY seq",
        (RowKind.REPLACEMENT, until_us),
    )
    found: set[int] = set()
    for seq, ref, body in rows:
        if session_id is None or ref in found or _session_of(body) == session_id:
            found.add(seq)
    return sorted(found - _open_seqs(session))


def build_erase_job(
    numbers: list[int], *, session_id: str | None, before: datetime | None
) -> WriteJob[int]:
    """Return a job that erases the bodies of these rows and the labels of their calls.

    The budget accounts of an erased session are deleted too. The job's result is the number of rows
    erased; rows erased before are not counted.

    Args:
        numbers: the rows, as from `find_rows`.
        session_id: the session that was given to `find_rows`, or None.
        before: the time that was given to `find_rows`, or None.
    """

    def run(tx: Transaction) -> int:
        tx.flush()
        erased = [seq for seq in numbers if _erase_body(tx, seq)]
        if not erased:
            return 0
        if session_id is not None:
            tx.execute("DELETE FROM accounts WHERE subject = ?", (session_id,))
        _anonymise_labels(tx, session_id, to_us(before) if before else 2**62)
        body = orjson.dumps({"rows": list(_to_ranges(erased))})
        tx.append(RowKind.ERASURE, f"erasure/{tx.seq + 1}", body)
        return len(erased)

    return WriteJob(run)


def _erase_body(tx: Transaction, seq: int) -> bool:
    rows = tx.execute("SELECT body FROM chain WHERE seq = ? AND body IS NOT NULL", (seq,))
    if not rows:
        return False
    tx.execute(
        "UPDATE chain SET body = NULL, digest = ? WHERE seq = ?", (hash_body(rows[0][0]), seq)
    )
    return True


def _anonymise_labels(tx: Transaction, session_id: str | None, until_us: int) -> None:
    condition, values = ("session = ?", (session_id,)) if session_id is not None else ("1 = 1", ())
    rows = tx.execute(f"SELECT id, {_LABEL_COLUMNS} FROM labels WHERE {condition}", values)  # noqa: S608 - constants
    for old, *labels in rows:
        bare = tuple(
            "" if name in PERSONAL_LABELS else str(label)
            for name, label in zip(LABELS, labels, strict=True)
        )
        new = label_id(bare)
        if new == old:
            continue
        tx.insert(LABEL_ROWS, (new, *bare))
        relabel(tx, old, new, until_us)
        tx.execute(
            "UPDATE calls SET labels = ? WHERE labels = ? AND at_us < ?", (new, old, until_us)
        )
        if not tx.execute("SELECT 1 FROM calls WHERE labels = ? LIMIT 1", (old,)):
            tx.execute("DELETE FROM labels WHERE id = ?", (old,))


def _session_of(body: bytes) -> str | None:
    return _BODY_ADAPTER.validate_json(body).session_id


def _open_seqs(session: Session) -> set[int]:
    """Return the rows of attempts in flight, which are needed until their request is closed."""
    return {seq for (seq,) in session.execute("SELECT seq FROM open_attempts")}


def _to_ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
