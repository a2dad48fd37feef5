"""`devflow sessions`: lists sessions, shows one, and shows the context it would add."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from devflow_core.usage import format_usd

from devflow_cli.app import app
from devflow_cli.completion import complete_session
from devflow_cli.options import ProjectFolder
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devflow_claude_code import ClaudeCodeSession, CountedSession, SessionDigest
    from devflow_claude_code.reading.session_cost import PriceOf
    from devflow_core.usage import KnownCost

sessions = typer.Typer(help="Claude Code's sessions, as DevFlow reads them.", no_args_is_help=True)
app.add_typer(sessions, name="sessions")

DEFAULT_LIMIT = 20
"""Number of sessions that a list shows."""
SessionArgument = Annotated[
    str,
    typer.Argument(
        help="An id, the beginning of one, the path of a transcript, or 'latest' of the project.",
        autocompletion=complete_session,
    ),
]


@sessions.callback()
def _group() -> None:
    """Claude Code's sessions, as DevFlow reads them."""


@command(sessions, "list", has_table=True)
def list_sessions(
    run: Run,
    project: Annotated[
        Path | None, typer.Option(help="Only sessions of this folder.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="How many sessions at most; 0 is all.")
    ] = DEFAULT_LIMIT,
) -> None:
    """List the sessions found, newest first, with their cost.

    A reply that a fork copied counts once, in the session that made it.
    """
    from devflow_claude_code import find_hints
    from devflow_core.usage import KnownCost
    from devflow_gateway import wiring

    from devflow_cli.session_costs import read_recent

    settings = run.settings()
    price_of = wiring.open_catalogue(settings).price_of
    counted, count = read_recent(run, settings, limit or None, project)
    total = sum((one.own.cost(price_of) for one in counted), KnownCost())
    for hint in find_hints(settings.claude_dir):
        run.remark(hint)
    more = count - len(counted)
    if run.as_json:
        rows = [
            {**one.session.summary_json(), **_without_usage(one.cost_json(price_of))}
            for one in counted
        ]
        run.emit({"sessions": rows, "more": more, "total": total.as_json()})
    elif not counted:
        run.say(f"No Claude Code sessions below {settings.claude_dir}.")
    else:
        _print_sessions(run, counted, price_of)
        run.say(f"Together {total}")
        if more:
            run.say(f"… and {more:,} more (--limit 0 lists all; `devflow costs` adds up all).")
        _say_remedies(run, total)


def _print_sessions(
    run: Run, counted: Sequence[CountedSession[SessionDigest]], price_of: PriceOf
) -> None:
    from devflow_cli.views.tables import print_table

    columns = {
        "session_id": "Session",
        "last_at": "Last (UTC)",
        "project": "Project",
        "messages": ">Messages",
        "cost": "$Cost",
        "title": "Title",
    }
    rows: list[dict[str, Any]] = []
    for one in counted:
        session, cost = one.session, one.own.cost(price_of)
        rows.append(
            {
                "session_id": session.session_id[:8],
                "last_at": (session.last_at or "")[:16].replace("T", " "),
                "project": session.project,
                "messages": session.messages,
                "cost": format_usd(cost.usd) if cost.is_complete else f"≥ {format_usd(cost.usd)}",
                "title": session.title,
            }
        )
    drop = ("messages", "last_at", "project", "title")
    print_table(run, columns, rows, drop=drop, text=("title",))


@command(sessions, has_table=True)
def show(run: Run, session: SessionArgument = "latest", project: ProjectFolder = None) -> None:
    """Show one session: its active branch, its usage per model, its cost."""
    from devflow_claude_code import count_once, find_related
    from devflow_gateway import wiring

    from devflow_cli.lookup import find_session

    settings = run.settings()
    price_of = wiring.open_catalogue(settings).price_of
    found = find_session(settings, session, project)
    # forks repeat replies: which session made them shows only beside its relatives
    counted = count_once([found, *find_related(found)])[0]
    shown = {**found.detail_json(price_of), **counted.cost_json(price_of)}
    if run.as_json:
        run.emit(shown)
        return
    run.say(f"Session  {shown['session_id']}  (Claude Code {shown['client_version']})")
    run.say(f"Project  {shown['project']}")
    run.say(f"Title    {shown['title']}")
    run.say(f"File     {shown['path']}")
    run.say(f"Branch   {len(shown['branch'])} rows; {shown['skipped_lines']} lines skipped")
    for note in found.damage.notes():
        run.say(f"Damage   {note}")
    if shown["agents"]:
        run.say(f"Agents   {', '.join(shown['agents'])}")
    _print_spending(run, shown, counted, price_of)


def _print_spending(
    run: Run,
    shown: Mapping[str, Any],
    counted: CountedSession[ClaudeCodeSession],
    price_of: PriceOf,
) -> None:
    from devflow_cli.views.tables import print_table

    rows = [{"model": model, **counts} for model, counts in shown["usage"].items()]
    columns = {
        "model": "Model",
        "input_tokens": ">Input",
        "cache_read_tokens": ">Cache read",
        "cache_write_5m_tokens": ">Written 5m",
        "cache_write_1h_tokens": ">Written 1h",
        "output_tokens": ">Output",
    }
    drop = (
        "cache_write_1h_tokens", "cache_write_5m_tokens", "cache_read_tokens", "input_tokens",
    )  # fmt: skip
    print_table(run, columns, rows, drop=drop)
    cost = counted.own.cost(price_of)
    run.say(f"Cost     {cost} at today's list prices, for what the transcript records")
    _say_remedies(run, cost)
    if counted.copied.responses:
        count, sessions_named = len(counted.copied.responses), ", ".join(counted.copied_from)
        run.say(
            f"Copied   {count} {'reply' if count == 1 else 'replies'} of {sessions_named},"
            f" counted there: {counted.copied.cost(price_of)}"
        )


def _say_remedies(run: Run, cost: KnownCost) -> None:
    for remedy in dict.fromkeys(one.remedy for one in cost.missing if one.remedy):
        run.say(f"         {remedy}")


def _without_usage(cost: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cost.items() if key != "usage"}


@command(sessions)
def context(
    run: Run,
    session: SessionArgument = "latest",
    project: ProjectFolder = None,
    budget_tokens: Annotated[
        int | None, typer.Option("--budget", min=0, help="How many tokens at most.")
    ] = None,
) -> None:
    """Show the context that would be added, each piece with its line in the transcript."""
    from devflow_cli.lookup import find_session

    settings = run.settings()
    budget = settings.context_tokens if budget_tokens is None else budget_tokens
    shown: dict[str, Any] = find_session(settings, session, project).context(budget).as_json()
    if run.as_json:
        run.emit(shown)
        return
    for piece in shown["pieces"]:
        source = piece["source"]
        run.say(f"── {piece['kind']}, {piece['tokens']} tokens, line {source['line']}")
        run.say(piece["text"].rstrip() + "\n")
    for note in shown["notes"]:
        run.say(f"Transcript: {note}.")
    run.say(f"{len(shown['pieces'])} pieces, {shown['tokens']} of {budget} tokens.")
