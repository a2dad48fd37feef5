"""Prints a route: the task, the candidates with their terms, and the exclusions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from devflow_core.usage import format_usd, parse_decimal

from devflow_cli.views.tables import Row, print_table

if TYPE_CHECKING:
    from devflow_cli.run import Run


def print_explanation(run: Run, document: Row, *, max_rows: int = 15) -> None:
    """Print a route: the task, the candidates with their terms, and the exclusions.

    Args:
        run: where to print.
        document: the route, as `route_as_json` gives it.
        max_rows: eligible candidates that are shown; of the others, only the number.
    """
    task = document["task"]
    reasons = "; ".join(task["reasons"])
    run.say(f"Task      {task['type']}, {task['complexity']} ({task['confidence']:.2f}) {reasons}")
    _print_learned(run, document)
    _print_choice(run, document)
    _print_checks(run, document)
    candidates: Sequence[Row] = document["candidates"]
    able = [one for one in candidates if one["excluded"] is None]
    for one in able:
        _print_substitutes(run, one)
    rows = [_candidate_row(one) for one in able]
    columns = {
        "mark": "",
        "model": "Model",
        "score": ">Score",
        "quality": ">Quality",
        "cost_usd": "$Cost",
        "switch": "$Switch",
        "latency_s": ">Seconds",
        "reason": "Why",
    }
    if not any(row["switch"] for row in rows):
        del columns["switch"]
    drop = ("quality", "latency_s", "switch", "reason", "score")
    print_table(run, columns, rows[:max_rows], drop=drop, text=("reason",))
    if len(rows) > max_rows:
        run.say(f"… and {len(rows) - max_rows} more eligible ones (--json=full shows all).")
    out = [one for one in candidates if one["excluded"] is not None]
    if out:
        run.say(f"\nLeft out ({len(out)}):")
        for reason, models in _group_by_reason(out):
            shown = ", ".join(models[:4]) + (f" and {len(models) - 4} more" if models[4:] else "")
            run.say(f"  {reason}: {shown}")


def _print_learned(run: Run, document: Row) -> None:
    """Say which learned table decided, and how; nothing if none did."""
    learned: Row | None = document["features"].get("learned")
    if learned is None:
        return
    if learned["is_known"]:
        how = f"the prompt is like {learned['domain']} of your answers"
    else:
        how = "the prompt is unlike your answers; by kind and complexity"
    run.say(f"Learned   table {learned['version']}: {how} (`devflow routing show`)")


def _print_choice(run: Run, document: Row) -> None:
    """Say in three lines why this model, what else it could be, and what would change it."""
    found: Row | None = document.get("alternatives")
    chosen: Row = next(one for one in document["candidates"] if one["chosen"])
    run.say(f"Choice    {chosen['model']}: {chosen['reason']}")
    if found is None or (terms := chosen["terms"]) is None:
        return
    own = {**terms, "cost_usd": parse_decimal(terms["cost_usd"]) or Decimal(0)}
    sides = (
        ("better", found["next_better"]),
        ("cheaper", found["next_cheaper"]),
    )
    said = [_compare(side, one, own) for side, one in sides if one]
    run.say(f"Instead   {'; '.join(said) or 'nothing is better, and nothing is cheaper'}")
    if turns := found.get("turns"):
        steps = ", ".join(f"{model} from {priority:g}" for priority, model in turns)
        run.say(f"Change    by --cost-priority: {steps}")


def _print_checks(run: Run, document: Row) -> None:
    """Say how each answer was checked, or that it will be."""
    found: Row | None = document.get("verification")
    if found is None:
        if document.get("is_verified"):
            run.say(
                "Checks    the answer is checked; if it is refused, the next better one answers"
            )
        return
    for step in found["steps"]:
        by = f" by {step['check']}" if step["check"] else ""
        paid = [f"answer {format_usd(parse_decimal(step['cost_usd']) or Decimal(0))}"]
        if asked := parse_decimal(step["check_usd"]):
            paid.append(f"check {format_usd(asked)}")
        run.say(
            f"Checked   {step['model']}: {step['outcome']}{by}, {step['reason']}"
            f" ({', '.join(paid)})"
        )
    if found["stopped_by"]:
        run.say(f"Stopped   no better model could answer: {found['stopped_by']}")


def _compare(side: str, option: Row, own: Row) -> str:
    """Return what another model would bring and cost, as in `better: a/b, +3 points for $0.01`."""
    points = 100 * (option["quality"] - own["quality"])
    more = Decimal(str(option["cost_usd"])) - own["cost_usd"]
    amount = f"{format_usd(abs(more))} {'more' if more > 0 else 'less'}"
    return f"{side}: {option['model']}, {points:+.0f} points for {amount}"


def _candidate_row(candidate: Row) -> Row:
    """Return a candidate's row; what leaving a warm cache costs is a column of its own."""
    terms: Row = candidate["terms"] or {}
    switch = parse_decimal(terms.get("switch_cost_usd"))
    return {
        **candidate,
        **terms,
        "mark": "→" if candidate["chosen"] else "",
        "cost_usd": "unknown" if terms.get("cost_usd") is None else terms["cost_usd"],
        "switch": format_usd(switch) if switch is not None and switch > 0 else None,
    }


def _print_substitutes(run: Run, candidate: Row) -> None:
    """Say which unknown name a candidate stands in for, and of which media it gets notes."""
    if unknown_name := candidate.get("stands_in_for"):
        run.say(
            f"Name      {unknown_name} is not in the catalogue: {candidate['model']}, the newest of"
            " its family, is asked in its place"
        )
    if media := candidate.get("unreadable_media"):
        run.say(f"Media     {candidate['model']} gets notes in the place of: {', '.join(media)}")


def _group_by_reason(excluded: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Group models by the reason for their exclusion, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for one in excluded:
        groups.setdefault(one["excluded"], []).append(one["model"])
    return sorted(groups.items(), key=lambda group: -len(group[1]))
