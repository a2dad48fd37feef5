"""`devflow sessions`: the sessions found, one session, the context that would be injected."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.options import ProjectFolder
from devflow_cli.run import Run, command

sessions = typer.Typer(help="Claude Code's sessions, as DevFlow reads them.", no_args_is_help=True)
app.add_typer(sessions, name="sessions")

SessionArgument = Annotated[
    str,
    typer.Argument(
        help="An id, the start of one, a path to a transcript, or 'latest' of the project."
    ),
]


@sessions.callback()
def _group() -> None:
    """Claude Code's sessions, as DevFlow reads them."""


@command(sessions, "list")
def list_sessions(
    run: Run,
    project: Annotated[str | None, typer.Option(help="Only sessions of this folder.")] = None,
) -> None:
    """List the sessions found, newest first, with what they cost."""
    from devflow_claude_code import list_sessions as find_sessions
    from devflow_gateway import wiring

    from devflow_cli.views.tables import print_table

    settings = run.settings()
    price_of = wiring.make_price_lookup(wiring.load_catalogue(settings))
    rows = [
        one.summary_json(price_of) for one in find_sessions(project, config_dir=settings.claude_dir)
    ]
    if run.as_json:
        run.emit({"sessions": rows})
        return
    if not rows:
        run.say(f"No Claude Code sessions below {settings.claude_dir}.")
        return
    for row in rows:
        row["session_id"] = str(row["session_id"])[:8]
        row["last_at"] = str(row["last_at"] or "")[:16].replace("T", " ")
    columns = {
        "session_id": "Session",
        "last_at": "Last (UTC)",
        "project": "Project",
        "messages": ">Messages",
        "cost_usd": ">Cost USD",
        "title": "Title",
    }
    print_table(run, columns, rows)


@command(sessions)
def show(run: Run, session: SessionArgument = "latest", project: ProjectFolder = None) -> None:
    """Show one session: its active branch, its usage per model, its cost."""
    from devflow_gateway import wiring

    from devflow_cli.lookup import find_session
    from devflow_cli.views.tables import print_table

    settings = run.settings()
    price_of = wiring.make_price_lookup(wiring.load_catalogue(settings))
    shown: dict[str, Any] = find_session(settings, session, project).detail_json(price_of)
    if run.as_json:
        run.emit(shown)
        return
    run.say(f"Session  {shown['session_id']}  (Claude Code {shown['client_version']})")
    run.say(f"Project  {shown['project']}")
    run.say(f"Title    {shown['title']}")
    run.say(f"File     {shown['path']}")
    run.say(f"Branch   {len(shown['branch'])} rows; {shown['skipped_lines']} lines skipped")
    rows = [{"model": model, **counts} for model, counts in shown["usage"].items()]
    columns = {
        "model": "Model",
        "input_tokens": ">Input",
        "cache_read_tokens": ">Cache read",
        "cache_write_5m_tokens": ">Written 5m",
        "cache_write_1h_tokens": ">Written 1h",
        "output_tokens": ">Output",
    }
    print_table(run, columns, rows)
    if shown["cost_usd"] is not None:
        run.say(f"Cost     {shown['cost_usd']} USD at today's list prices, a lower bound")
    else:
        run.say(f"Cost     unknown: no price for {', '.join(shown['unpriced_models'])}")


@command(sessions)
def context(
    run: Run,
    session: SessionArgument = "latest",
    project: ProjectFolder = None,
    budget_tokens: Annotated[
        int | None, typer.Option("--budget", min=0, help="How many tokens at the most.")
    ] = None,
) -> None:
    """Show the context that would be injected, each piece with its line in the transcript."""
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
    run.say(f"{len(shown['pieces'])} pieces, {shown['tokens']} of {budget} tokens.")
