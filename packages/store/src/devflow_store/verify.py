"""Whether the chain is whole: every row recomputed, the first bad one named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devflow_core.errors import LedgerCorrupt

from devflow_store.chain import GENESIS, Row, digest, link
from devflow_store.engine import Session
from devflow_store.records import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check of the whole ledger found."""

    ok: bool
    entries: int
    """Requests on the chain, erased ones included."""
    rows: int
    """Rows that are good, up to the first bad one."""
    first_bad: int | None = None
    """The number of the first row that was touched, lost or put in."""
    reason: str | None = None
    """What is wrong with it, for a person."""
    head: str = ""
    """`number:hash` of the last good row. Kept elsewhere, it later shows that no end is missing."""


def verify(session: Session, *, anchor: str | None = None) -> Verification:
    """Recompute the chain from the first row on.

    Args:
        session: a reading connection.
        anchor: a `head` noted earlier: the chain must still lead through it.
    """
    walk = _Walk(anchor)
    try:
        for values in session.stream(
            "SELECT seq, kind, key, ref, at_us, body, digest, hash FROM chain ORDER BY seq"
        ):
            if reason := walk.fault(values):
                return walk.result(reason)
    except LedgerCorrupt as error:
        return walk.result(str(error))
    return walk.result(walk.missing_anchor())


class _Walk:
    def __init__(self, anchor: str | None) -> None:
        number, _, self._anchor_hash = (anchor or "0:").partition(":")
        self._anchor_seq = int(number)
        self._seq = 0
        self._hash = GENESIS
        self._entries = 0

    def fault(self, values: tuple[Any, ...]) -> str | None:
        """What is wrong with the next row; None takes it in."""
        seq, kind, key, ref, at_us, body, erased_digest, stored = values
        if seq != self._seq + 1:
            return f"row {self._seq + 1} is missing"
        content = erased_digest if body is None else digest(body)
        if content is None:
            return f"row {seq} ({key}) has lost its content"
        link_hash = link(self._hash, Row(seq, kind, key, ref, at_us, content))
        if link_hash != stored:
            return f"row {seq} ({key}) is not what was written"
        if seq == self._anchor_seq and stored.hex() != self._anchor_hash:
            return f"row {seq} ({key}) is not the one that was noted as the head"
        self._seq, self._hash = seq, link_hash
        self._entries += kind == Kind.ENTRY
        return None

    def missing_anchor(self) -> str | None:
        """What is wrong with the end."""
        if self._seq < self._anchor_seq:
            return f"the last rows are missing: {self._seq} are left of {self._anchor_seq}"
        return None

    def result(self, reason: str | None) -> Verification:
        return Verification(
            ok=reason is None,
            entries=self._entries,
            rows=self._seq,
            first_bad=None if reason is None else self._seq + 1,
            reason=reason,
            head=f"{self._seq}:{self._hash.hex()}",
        )
