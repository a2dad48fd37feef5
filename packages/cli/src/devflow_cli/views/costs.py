"""Prints what sessions cost: groups of replies, blocks of five hours, and the total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from devflow_core.usage import format_usd

from devflow_cli.views.tables import format_money, print_table, say_sentence

if TYPE_CHECKING:
    from devflow_claude_code import CostBlock, CostGroup

    from devflow_cli.run import Run

_COLUMNS = {
    "input_tokens": ">Input",
    "output_tokens": ">Output",
    "cache_write": ">Cache write",
    "cache_read_tokens": ">Cache read",
    "total_tokens": ">Tokens",
    "cost": "$Cost",
}
_DROP = (
    "names", "input_tokens", "output_tokens", "cache_write", "cache_read_tokens", "last", "project",
    "total_tokens", "state",
)  # fmt: skip


def print_groups(run: Run, heading: str, rows: Sequence[dict[str, Any]], with_models: bool) -> None:
    """Print groups as a table.

    Args:
        run: where to print.
        heading: that of the first column; `Session` adds the columns of time and project.
        rows: the groups, as `CostGroup.as_json` gives them.
        with_models: whether each model gets a row below its group.
    """
    is_session = heading == "Session"
    columns = {"key": heading, **({"last": "Last (UTC)"} if is_session else {})}
    if is_session:
        columns["project"] = "Project"
    shown = [line for row in rows for line in _lines(row, with_models)]
    models = {} if with_models or heading == "Model" else {"names": "Models"}
    print_table(run, {**columns, **models, **_COLUMNS}, shown, drop=_DROP)


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
    return {**row, "cache_write": written, "cost": f"{at_least}{format_money(row['cost_usd'])}"}


def print_blocks(run: Run, blocks: Sequence[CostBlock], zone: tzinfo | None) -> None:
    """Print blocks and the gaps between them; of the one in progress also rate and projection."""
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
    print_table(run, columns, rows, drop=_DROP)
    for block in blocks:
        rate, ahead = block.burn_rate, block.projection
        if rate is not None and ahead is not None:
            run.say(
                f"Rate     {rate.tokens_per_min:,.0f} tokens/min,"
                f" {format_usd(rate.usd_per_hour)}/h; {ahead.remaining_min} min left"
            )
            run.say(f"By then  {ahead.tokens:,} tokens, {format_usd(ahead.usd)} at this rate")


def print_total(run: Run, total: CostGroup) -> None:
    """Print the total, what of it was booked, and how to make unknown prices known."""
    cost = total.total.cost
    booked = total.booked_usd
    part = f", of which {format_usd(booked)} is booked in the ledger" if booked else ""
    tokens = sum(total.total.tokens)
    say_sentence(run, f"Together {cost}{part}; {tokens:,} tokens in {total.replies:,} replies.")
    for remedy in dict.fromkeys(one.remedy for one in cost.missing if one.remedy):
        say_sentence(run, remedy)
