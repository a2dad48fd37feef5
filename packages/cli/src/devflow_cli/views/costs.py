"""Prints what sessions cost: groups of replies, blocks of five hours, and the total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from devflow_core.usage import usd_text

from devflow_cli.views.tables import print_table

if TYPE_CHECKING:
    from devflow_claude_code import CostBlock, CostGroup

    from devflow_cli.run import Run

_COLUMNS = {
    "input_tokens": ">Input",
    "output_tokens": ">Output",
    "cache_write": ">Cache write",
    "cache_read_tokens": ">Cache read",
    "total_tokens": ">Tokens",
    "cost": ">Cost USD",
}


def print_groups(run: Run, heading: str, rows: Sequence[dict[str, Any]], with_models: bool) -> None:
    """Print groups as a table.

    Args:
        run: where to print.
        heading: of the first column.
        rows: the groups, as `CostGroup.as_json` gives them.
        with_models: whether each model gets a row below its group.
    """
    is_session = heading == "Session"
    columns = {"key": heading, **({"last": "Last"} if is_session else {})}
    if is_session:
        columns["project"] = "Project"
    shown = [line for row in rows for line in _lines(row, with_models)]
    models = {} if with_models or heading == "Model" else {"names": "Models"}
    print_table(run, {**columns, **models, **_COLUMNS}, shown)


def _lines(row: dict[str, Any], with_models: bool) -> Iterator[dict[str, Any]]:
    models: list[dict[str, Any]] = row["models"]
    names = ", ".join(one["model"] for one in models)
    last = (row["last_at"] or "")[:16].replace("T", " ")
    yield {**_format(row), "key": row["key"] or "(unknown)", "names": names, "last": last}
    if with_models:
        yield from ({**_format(one), "key": f"└ {one['model']}", "project": ""} for one in models)


def _format(row: dict[str, Any]) -> dict[str, Any]:
    written = row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    at_least = "" if row["is_complete"] else "≥ "
    return {**row, "cache_write": written, "cost": f"{at_least}{row['cost_usd']}"}


def print_blocks(run: Run, blocks: Sequence[CostBlock], zone: tzinfo | None) -> None:
    """Print blocks and the gaps between them; of the one in progress also its rate and end."""
    columns = {"key": "Block", "state": "State", **_COLUMNS}
    rows: list[dict[str, Any]] = []
    for block in blocks:
        begin, end = block.starts_at.astimezone(zone), block.ends_at.astimezone(zone)
        span = f"{begin:%Y-%m-%d %H:%M}–{end:%H:%M}"
        if block.is_gap:
            hours = (block.ends_at - block.starts_at).total_seconds() / 3600
            rows.append({"key": span, "state": f"gap of {hours:.1f} h"})
        else:
            state = "active" if block.is_active else ""
            rows.append({**_format(block.as_json()), "key": span, "state": state})
    print_table(run, columns, rows)
    for block in blocks:
        rate, ahead = block.burn_rate, block.projection
        if rate is not None and ahead is not None:
            run.say(
                f"Rate     {rate.tokens_per_min:,.0f} tokens/min, {rate.usd_per_hour:.2f} USD/h;"
                f" {ahead.remaining_min} min left"
            )
            run.say(f"By then  {ahead.tokens:,} tokens, {ahead.usd:.2f} USD at this rate")


def print_total(run: Run, total: CostGroup) -> None:
    """Print the total, what of it was booked, and how to make unknown prices known."""
    cost = total.total.cost
    run.say(f"Together {cost}, {sum(total.total.tokens):,} tokens in {total.replies:,} replies")
    if total.booked_usd:
        run.say(f"         of which {usd_text(total.booked_usd)} USD are booked in the ledger")
    for remedy in dict.fromkeys(one.remedy for one in cost.missing if one.remedy):
        run.say(f"         {remedy}")
