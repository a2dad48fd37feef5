"""Finds what commands work on: a session, recorded work, the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devflow_analytics import Turn
    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.ledger import LedgerEntry
    from devflow_core.settings import Settings

    from devflow_cli.matching import Period
    from devflow_cli.run import Run

COMPARISON_MODELS = (
    "anthropic/claude-haiku-4.5",
    "openai/gpt-5-mini",
    "google/gemini-2.5-flash",
    "deepseek/deepseek-v3.2",
)
"""The models that recorded work is compared with by default: cheaper ones from four vendors."""


def find_session(settings: Settings, name: str, project: Path | None = None) -> ClaudeCodeSession:
    """Return a Claude Code session, given its id, a unique beginning of it, a path, or `latest`.

    Args:
        settings: hold the folder of Claude Code's sessions, and the token budget of the context.
        name: the session; `latest` is the project's latest.
        project: the project's folder, used for `latest` only; None is the working directory.

    Raises:
        SessionError: the session is not found, is not unique, or is not a transcript.
    """
    from devflow_claude_code import ClaudeCodeSession

    if name == "latest":
        session = ClaudeCodeSession.latest(project, config_dir=settings.claude_dir)
    else:
        session = ClaudeCodeSession.find(name, config_dir=settings.claude_dir)
    session.context_budget_tokens = settings.context_tokens
    return session


def find_project_session(settings: Settings, session_id: str, folder: Path) -> ClaudeCodeSession:
    """Return a session of one project by id, a unique beginning of it, or `latest`; never by path.

    Raises:
        SessionError: the text is not an id, or matches no session or several; or the session
            belongs to another project.
    """
    from devflow_claude_code import belongs_to
    from devflow_core.errors import SessionError

    # see `build_mcp_tools`: a path could name any file of the user
    if "/" in session_id or "." in session_id:
        raise SessionError("Give a session by its id or as 'latest' here, not by a path.")
    session = find_session(settings, session_id, folder)
    # checked on the file that was found, since an id may belong to another project's session
    if not belongs_to(session.path, folder, config_dir=settings.claude_dir):
        raise SessionError(
            f"The session {session_id} does not belong to the project in {folder}."
            " `devflow handoff` in a terminal accepts sessions of every project."
        )
    return session


def describe_session(session: ClaudeCodeSession) -> str:
    """Describe the session in one line, which is shown before any of it is sent."""
    last = (session.last_at or "at an unknown time")[:16].replace("T", " ")
    return (
        f"Session {session.session_id} of {session.project or 'an unknown project'},"
        f" last message {last} UTC: {session.title or 'no title'}"
    )


def build_whatif_document(
    settings: Settings,
    session: ClaudeCodeSession | None,
    period: Period,
    models: Sequence[str],
) -> dict[str, Any]:
    """Return what a session's replies, or the ledger's rows, of a period would cost elsewhere.

    The JSON values are those of `WhatIf.as_json`.

    Args:
        settings: hold the places of the ledger and the catalogue, and the baseline model.
        session: the session; None takes the ledger.
        period: start (inclusive) and end (exclusive) of what is priced; None is open.
        models: those to compare; if empty, the recorded ones, the baseline and
            `COMPARISON_MODELS`. An unknown Claude is replaced by the model that a request for it is
            sent to.

    Raises:
        StoreError: the ledger cannot be read.
        UnknownModel: the catalogue has neither a model to compare nor one of its family.
    """
    from devflow_analytics import whatif
    from devflow_gateway import wiring

    live = wiring.open_catalogue(settings)
    catalogue, price_of = live.current, live.price_of

    def window_of(model: str) -> int | None:
        known = catalogue.lookup(model)
        return known.context_length if known else None

    # a model may have a price without being listed
    compared = [
        name if price_of(name) is not None else catalogue.find_or_newest(name).id for name in models
    ]
    # the session's own account also knows what replies without a time have cost
    recorded = session.spend.cost(price_of) if session and period == (None, None) else None
    turns = _read_turns(session, period) if session else _read_booked_turns(settings, period)
    usual = (*(turn.model for turn in turns), settings.baseline_model, *COMPARISON_MODELS)

    def id_of(name: str) -> str:
        # transcripts have the client's names, ledgers the catalogue's
        known = catalogue.lookup(name)
        return known.id if known else name

    return whatif(
        turns,
        compared or usual,
        price_of=price_of,
        window_of=window_of,
        recorded=recorded,
        id_of=id_of,
    ).as_json()


def _read_turns(session: ClaudeCodeSession, period: Period) -> list[Turn]:
    from devflow_analytics import Turn

    since, until = period
    return [
        Turn(started_at=one.started_at, thread=one.thread, model=one.model, usage=one.usage)
        for one in session.turns
        if (since is None or one.started_at >= since) and (until is None or one.started_at < until)
    ]


def _read_booked_turns(settings: Settings, period: Period) -> list[Turn]:
    """Return the ledger's answered requests that arrived in a period; empty without a ledger."""
    from devflow_analytics import turns_of
    from devflow_gateway import wiring

    if not wiring.has_ledger(settings):
        return []
    since, until = period
    return list(turns_of(wiring.make_store(settings).entries(since=since, until=until)))


def has_ledger(run: Run, settings: Settings) -> bool:
    """Return whether anything was ever booked where a command reads; if not, say so.

    Raises:
        NotFound: nothing was, and the folder was named on the command line: it is mistyped.
    """
    from devflow_core.errors import NotFound
    from devflow_gateway import wiring

    if wiring.has_ledger(settings):
        return True
    message = f"Nothing was ever booked in {settings.data_dir}."
    if run.data_dir is not None:
        raise NotFound(f"{message} Is --data-dir the folder that you mean?")
    run.remark(message)
    return False


def find_entry(settings: Settings, entry_id: str) -> LedgerEntry:
    """Return an entry of the ledger.

    Raises:
        NotFound: nothing was ever booked, or there is no such entry.
    """
    from devflow_core.errors import NotFound
    from devflow_gateway import wiring

    require_ledger(settings)
    entry = wiring.make_store(settings).entry(entry_id)
    if entry is None:
        raise NotFound(f"The ledger has no entry {entry_id}. `devflow ledger export` lists them.")
    return entry


def require_ledger(settings: Settings) -> None:
    """Make sure that there is a ledger to work on.

    Raises:
        NotFound: nothing was ever booked in the data folder.
    """
    from devflow_core.errors import NotFound
    from devflow_gateway import wiring

    if not wiring.has_ledger(settings):
        raise NotFound(
            f"Nothing was ever booked in {settings.data_dir}. `devflow ask` books a call;"
            " --data-dir names another folder."
        )
