"""Exports the ledger: JSON lines with everything, or CSV with one row per attempt."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Literal

from devflow_core.dimensions import DIMENSIONS
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.safe_text import escape_formula, escape_json
from devflow_core.usage import usd_text

from devflow_store.chain.records import encode_record

ExportFormat = Literal["jsonl", "csv"]
_LABELS = tuple(one for one in DIMENSIONS if one.export_column is not None)
COLUMNS = (
    *("entry_id", "started_at", "outcome", "error_code"),
    *(one.export_column or "" for one in _LABELS),
    *("attempt", "model", "provider", "generation_id", "finish_reason", "cost_usd", "cost_status"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("output_tokens", "reasoning_tokens", "ttft_s", "total_s"),
    *("cost_source", "cost_doubt", "usage_is_estimated"),
)
"""The columns of the CSV, as its first line names them."""


def export_lines(entries: Iterable[LedgerEntry], export_format: ExportFormat) -> Iterator[str]:
    """Yield the lines of an export, each with its line end.

    `jsonl` has an entry per line; `csv` has a header, then a row per attempt, or one row for an
    entry without attempts. Texts that a spreadsheet would run as formulas are escaped.
    """
    if export_format == "jsonl":
        yield from (escape_json(encode_record(entry).decode()) + "\n" for entry in entries)
        return
    yield _csv_line(COLUMNS)
    for entry in entries:
        for attempt in entry.attempts or (None,):
            yield _csv_line(tuple(_escape_cell(cell) for cell in _csv_row(entry, attempt)))


def _csv_row(entry: LedgerEntry, attempt: Attempt | None) -> tuple[object, ...]:
    request = (
        entry.entry_id,
        entry.started_at.isoformat(),
        (attempt or entry).outcome,
        (attempt or entry).error_code,
        *(one.value_of(entry, attempt) for one in _LABELS),
    )
    if attempt is None:
        return (
            *request,
            0,
            entry.requested_model,
            *[None] * 10,
            entry.ttft_s,
            entry.total_s,
            *[None] * 3,
        )
    usage = attempt.usage
    return (
        *request,
        attempt.number,
        attempt.model,
        attempt.provider,
        attempt.generation_id,
        attempt.finish_reason,
        usd_text(attempt.cost_usd),
        attempt.cost_status,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        attempt.ttft_s,
        attempt.total_s,
        attempt.cost_source,
        attempt.cost_doubt,
        attempt.is_usage_estimated,
    )


def _escape_cell(cell: object) -> object:
    return escape_formula(cell) if isinstance(cell, str) else cell


def _csv_line(cells: tuple[object, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
