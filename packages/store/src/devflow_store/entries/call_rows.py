"""Writes the table that reports add up: one narrow row per attempt, derived from the chain."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from operator import attrgetter

from devflow_core.dimensions import DIMENSIONS
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.summary import bucket_of
from devflow_core.usage import Usage, to_pico

from devflow_store.chain.times import to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.database.engine import SqlValue
from devflow_store.database.insert import Insert

COST_STATUS_CODES = {"settled": 0, "estimated": 1, "void": 2, "observed": 3}
"""The numbers by which the table stores an attempt's cost status."""
DOUBTED_CODES = {"settled": 4, "observed": 5}
"""The codes of final costs that are in doubt; an open cost counts as estimated."""
_STORED = tuple(one for one in DIMENSIONS if one.column is not None)
LABELS = tuple(one.column or "" for one in _STORED)
"""The columns of the table of labels in its order, without the id."""
PERSONAL_LABELS = tuple(one.column or "" for one in _STORED if one.is_personal)
"""Labels that an erasure removes."""
_FIRST_LABELS = 10
"""The number of labels in the first version of the tables."""
LABEL_ROWS = Insert("labels", ("id", *LABELS), key=("id",))
TOKEN_COLUMNS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)
"""The counts of `Usage` in the order of the tables."""
CALL_COLUMNS = (
    "labels",
    "seq",
    "number",
    "at_us",
    "is_final",
    "is_cache_hit",
    "cost_pico",
    "cost_status",
    *TOKEN_COLUMNS,
    "ttft_bucket",
    "total_bucket",
)
"""The columns of the table of calls, without the texts of the labels."""
CALL_ROWS = Insert("calls", CALL_COLUMNS)
_read_counts = attrgetter(*TOKEN_COLUMNS)
_NO_USAGE = Usage()


def write_calls(tx: Transaction, seq: int, entry: LedgerEntry) -> None:
    """Add the rows of an entry, which is row `seq` of the chain; one row if it has no attempts."""
    final = entry.final_attempt
    for attempt in entry.attempts or (None,):
        labels = labels_of(entry, attempt)
        number = label_id(labels)
        tx.ensure(LABEL_ROWS, (number, *labels))
        tx.insert(CALL_ROWS, (number, seq, *_number_columns(entry, attempt, final)))


def build_call_rows(seq: int, entry: LedgerEntry) -> list[tuple[SqlValue, ...]]:
    """Return what the table must contain for an entry, which is row `seq` of the chain.

    Each row has the values of `CALL_COLUMNS`, then those of `LABELS`; rows are ordered by attempt.
    """
    rows: list[tuple[SqlValue, ...]] = []
    final = entry.final_attempt
    for attempt in entry.attempts or (None,):
        labels = labels_of(entry, attempt)
        rows.append((label_id(labels), seq, *_number_columns(entry, attempt, final), *labels))
    return sorted(rows, key=lambda row: (row[2], row[0]))


def replace_calls(tx: Transaction, seq: int, old: LedgerEntry, new: LedgerEntry) -> None:
    """Replace the rows of `old`, which is row `seq` of the chain, by those of `new`.

    Rows buffered in the transaction are sent first, since they may be among those replaced.
    """
    tx.flush()
    for attempt in old.attempts or (None,):
        tx.execute(
            "DELETE FROM calls WHERE labels = ? AND seq = ?",
            (label_id(labels_of(old, attempt)), seq),
        )
    write_calls(tx, seq, new)


def labels_of(entry: LedgerEntry, attempt: Attempt | None) -> tuple[str, ...]:
    """Return the labels of an attempt in the order of `LABELS`; unknown ones are empty.

    Args:
        entry: the request.
        attempt: one of its attempts; None if it has none.

    Returns:
        The labels without NUL characters, which PostgreSQL cannot store.
    """
    labels = tuple([one.after(entry, attempt) or "" for one in _STORED])
    return labels if "\0" not in "".join(labels) else tuple(one.replace("\0", "") for one in labels)


@lru_cache(maxsize=4096)
def label_id(labels: tuple[str, ...]) -> int:
    """Return 63 bits of the SHA-256 of the labels: the same in every process, without a query.

    Labels added later count only if they are set, so that older rows keep their ids.
    """
    later = labels[_FIRST_LABELS:]
    counted = labels if any(later) else labels[:_FIRST_LABELS]
    return int.from_bytes(sha256("\x1f".join(counted).encode()).digest()[:8]) >> 1


def _cost_status_code(attempt: Attempt | None) -> int:
    status = attempt.cost_status if attempt else "void"
    code = COST_STATUS_CODES[status]
    return DOUBTED_CODES.get(status, code) if attempt and attempt.cost_doubt else code


def _number_columns(
    entry: LedgerEntry, attempt: Attempt | None, final: Attempt | None
) -> tuple[SqlValue, ...]:
    is_final = attempt is final
    return (
        attempt.number if attempt else 0,
        to_us(attempt.started_at if attempt else entry.started_at),
        int(is_final),
        int(is_final and entry.is_cache_hit),
        to_pico(attempt.cost_usd) if attempt else 0,
        _cost_status_code(attempt),
        *_read_counts(attempt.usage if attempt else _NO_USAGE),
        bucket_of(entry.ttft_s) if is_final and entry.ttft_s is not None else None,
        bucket_of(entry.total_s) if is_final else None,
    )
