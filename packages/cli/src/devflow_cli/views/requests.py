"""Shows single requests, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow_cli.run import Run
from devflow_cli.views.tables import print_table

if TYPE_CHECKING:
    from devflow_core.ledger import LedgerEntry
    from devflow_store import RequestPage

_COLUMNS = {
    "request": "request",
    "at": "at (UTC)",
    "model": "model",
    "outcome": "outcome",
    "cost_usd": "$cost",
    "tokens": ">tokens",
    "total_s": ">seconds",
    "project": "project",
    "session": "session",
    "key": "key",
    "provider": "provider",
}


def show_requests(run: Run, page: RequestPage) -> None:
    """Print a page of requests, and how to go on after it."""
    rows = [_row_of(one) for one in page.entries]
    if run.as_json:
        run.emit({"requests": rows, "cursor": page.cursor})
        return
    if not rows:
        run.say("No request matches.")
        return
    shown = [{**one, "at": one["at"][:19].replace("T", " ")} for one in rows]
    print_table(run, _COLUMNS, shown)
    if page.cursor is not None:
        run.remark(f"There are more: --cursor {page.cursor}")


def _row_of(entry: LedgerEntry) -> dict[str, Any]:
    from devflow_core.usage import usd_text

    final, labels = entry.final_attempt, entry.attribution
    return {
        "request": entry.entry_id,
        "at": entry.started_at.isoformat(),
        "model": entry.model,
        "outcome": entry.error_code or entry.outcome,
        "cost_usd": usd_text(entry.cost_usd),
        "tokens": entry.usage.total_tokens,
        "total_s": round(entry.total_s, 3),
        "project": labels.project,
        "session": labels.session_id,
        "key": labels.client_key,
        "provider": final.provider if final else None,
    }
